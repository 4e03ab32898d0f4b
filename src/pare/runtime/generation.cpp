#include "pare/runtime/generation.h"

#include <iterator>
#include <utility>

namespace pare {

const char* name_of(Finish finish) {
  switch (finish) {
    case Finish::stop:
      return "stop";
    case Finish::length:
      return "length";
    case Finish::cancelled:
      return "cancelled";
    case Finish::timed_out:
      return "timed_out";
    case Finish::failed:
      return "failed";
  }
  return "";
}

Generation::Update Generation::take_locked() {
  Update update = std::move(pending_);
  pending_ = {};
  pending_.finish = update.finish;
  return update;
}

Generation::Update Generation::take() {
  std::lock_guard lock(mutex_);
  return take_locked();
}

Generation::Update Generation::next(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  came_.wait_for(lock, limit, [&] { return !pending_.text.empty() || !pending_.tokens.empty() || pending_.finish; });
  return take_locked();
}

void Generation::wake_if(bool condition, std::unique_lock<std::mutex>& lock) {
  const std::function<void()> wake = condition ? wake_ : nullptr;
  lock.unlock();
  came_.notify_all();
  if (wake) wake();
}

void Generation::on_ready(std::function<void()> wake, bool at_end) {
  std::unique_lock lock(mutex_);
  wake_ = std::move(wake);
  wake_at_end_ = at_end;
  wake_if(pending_.finish.has_value() || (!at_end && !(pending_.text.empty() && pending_.tokens.empty())), lock);
}

Usage Generation::usage() const {
  std::lock_guard lock(mutex_);
  return usage_;
}

std::string Generation::error() const {
  std::lock_guard lock(mutex_);
  return error_;
}

std::vector<TokenRecord> Generation::prompt_scores() const {
  std::lock_guard lock(mutex_);
  return prompt_scores_;
}

std::vector<float> Generation::embedding() const {
  std::lock_guard lock(mutex_);
  return embedding_;
}

void Generation::add(std::string text, std::vector<TokenRecord> tokens) {
  if (text.empty() && tokens.empty()) return;
  std::unique_lock lock(mutex_);
  pending_.text += text;
  std::move(tokens.begin(), tokens.end(), std::back_inserter(pending_.tokens));
  wake_if(!wake_at_end_, lock);
}

void Generation::add_prompt_score(TokenRecord record) {
  std::lock_guard lock(mutex_);
  prompt_scores_.push_back(std::move(record));
}

void Generation::set_embedding(std::vector<float> values) {
  std::lock_guard lock(mutex_);
  embedding_ = std::move(values);
}

void Generation::set_usage(const Usage& usage) {
  std::lock_guard lock(mutex_);
  usage_ = usage;
}

void Generation::end(Finish finish, std::string error) {
  std::unique_lock lock(mutex_);
  pending_.finish = finish;
  error_ = std::move(error);
  wake_if(true, lock);
}

}  // namespace pare
