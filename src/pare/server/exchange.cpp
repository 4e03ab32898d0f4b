#include "pare/server/exchange.h"

#include <utility>

namespace pare {

void Exchange::answer_with(std::unique_ptr<Answer> answer) {
  Answer* made = answer.get();
  bool abandoned = false;
  {
    std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
    abandoned = abandoned_;
  }
  if (abandoned) made->abandon();
  // The HTTP thread looks at the answer only after the first wake; the waker must not keep this alive.
  made->on_ready([self = weak_from_this()] {
    if (const auto exchange = self.lock()) exchange->wake();
  });
}

void Exchange::wake() {
  std::lock_guard lock(mutex_);
  if (connection_ == nullptr) return;
  if (sleeping_) {
    sleeping_ = false;
    MHD_resume_connection(connection_);
  } else {
    woken_ = true;
  }
}

bool Exchange::sleep() {
  std::lock_guard lock(mutex_);
  if (std::exchange(woken_, false) || ended_) return false;
  sleeping_ = true;
  MHD_suspend_connection(connection_);
  return true;
}

void Exchange::end() {
  abandon();
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake();
}

Answer* Exchange::answer() {
  std::lock_guard lock(mutex_);
  return answer_.get();
}

void Exchange::abandon() {
  std::lock_guard lock(mutex_);
  if (std::exchange(abandoned_, true)) return;
  if (answer_) answer_->abandon();
}

void Exchange::detach() {
  std::lock_guard lock(mutex_);
  connection_ = nullptr;
  if (answer_ && !complete) answer_->abandon();
  abandoned_ = true;
}

bool Exchange::sleeping() const {
  std::lock_guard lock(mutex_);
  return sleeping_;
}

}  // namespace pare
