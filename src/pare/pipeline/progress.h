// One line of progress on a terminal, one log line a layer otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>

namespace pare {

// How long the rest of the work takes, from the rate of late. The first update is where this process begins, not what
// it did: a run that goes on after being killed begins in the middle.
class TimeLeft {
 public:
  using Clock = std::chrono::steady_clock;
  explicit TimeLeft(int64_t units) : units_(units) {}

  void update(int64_t done, Clock::time_point now);
  // Nothing before the second step and after the last.
  std::optional<double> seconds(Clock::time_point now) const;

 private:
  int64_t units_;
  std::deque<std::pair<int64_t, Clock::time_point>> recent_;  // steps behind, and since when
};

class Progress {
 public:
  // `units`: how many steps the whole work has.
  Progress(std::string what, int64_t units);
  ~Progress();  // removes the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` steps are behind; `note` is what the last one gave ("down_proj 3.1e-03"). Redrawn at most ten times a
  // second.
  void update(int64_t done, const std::string& note);
  // The same as a log line where there is no terminal.
  void log(const std::string& text);

 private:
  std::string what_;
  int64_t units_;
  TimeLeft left_;
  TimeLeft::Clock::time_point drawn_{};
};

}  // namespace pare
