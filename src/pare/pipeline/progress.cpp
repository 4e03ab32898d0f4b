#include "pare/pipeline/progress.h"

#include "pare/base/log.h"
#include "pare/base/resources.h"
#include "pare/base/units.h"

namespace pare {

void TimeLeft::update(int64_t done, Clock::time_point now) {
  if (!recent_.empty() && done <= recent_.back().first) return;
  recent_.emplace_back(done, now);
  if (recent_.size() > 70) recent_.pop_front();  // about the last ten blocks of seven layers
}

std::optional<double> TimeLeft::seconds(Clock::time_point now) const {
  if (recent_.size() < 2 || recent_.back().first >= units_) return std::nullopt;
  const auto [first, since] = recent_.front();
  const int64_t done = recent_.back().first;
  const double took = std::chrono::duration<double>(now - since).count();
  return took / static_cast<double>(done - first) * static_cast<double>(units_ - done);
}

Progress::Progress(std::string what, int64_t units) : what_(std::move(what)), units_(units), left_(units) {}

Progress::~Progress() {
  set_status_line("");
}

void Progress::update(int64_t done, const std::string& note) {
  const auto now = TimeLeft::Clock::now();
  left_.update(done, now);
  if (done < units_ && now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  std::string text = what_ + " " + std::to_string(done) + "/" + std::to_string(units_);
  if (const auto seconds = left_.seconds(now)) text += ", " + format_duration(*seconds) + " left";
  text += ", " + format_bytes(current_rss_bytes());
  if (!note.empty()) text += ", " + note;
  set_status_line(text.substr(0, 79));
}

void Progress::log(const std::string& text) {
  if (!stderr_is_terminal()) log_line(Level::info, text);
}

}  // namespace pare
