#include "pare/pipeline/progress.h"

#include "pare/base/log.h"
#include "pare/base/resources.h"
#include "pare/base/units.h"

namespace pare {

Progress::Progress(std::string what, int64_t units) : what_(std::move(what)), units_(units) {
  recent_.emplace_back(0, started_);
}

Progress::~Progress() {
  set_status_line("");
}

void Progress::update(int64_t done, const std::string& note) {
  const auto now = Clock::now();
  if (done > recent_.back().first) {
    recent_.emplace_back(done, now);
    if (recent_.size() > 70) recent_.pop_front();  // about the last ten blocks of seven layers
  }
  if (done < units_ && now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  std::string text = what_ + " " + std::to_string(done) + "/" + std::to_string(units_);
  const auto [first, since] = recent_.front();
  if (done > first && done < units_) {
    const double seconds = std::chrono::duration<double>(now - since).count();
    text += ", " + format_duration(seconds / static_cast<double>(done - first) * static_cast<double>(units_ - done)) +
            " left";
  }
  text += ", " + format_bytes(current_rss_bytes());
  if (!note.empty()) text += ", " + note;
  set_status_line(text.substr(0, 79));
}

void Progress::log(const std::string& text) {
  if (!stderr_is_terminal()) log_line(Level::info, text);
}

}  // namespace pare
