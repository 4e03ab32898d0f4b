// One line of progress on a terminal, one log line a layer otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>

namespace pare {

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
  using Clock = std::chrono::steady_clock;
  std::string what_;
  int64_t units_;
  Clock::time_point started_ = Clock::now(), drawn_{};
  std::deque<std::pair<int64_t, Clock::time_point>> recent_;  // for a rolling rate
};

}  // namespace pare
