#include "pare/runtime/job.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "pare/base/error.h"

namespace pare {

Job::Job(std::shared_ptr<Generation> handle, const Tokenizer& tokenizer, const JobLimits& limits)
    : handle_(std::move(handle)),
      limits_(limits),
      tokens_(request().prompt),
      sampler_(request().sampling),
      stream_(tokenizer),
      stops_(request().stop) {
  if (request().grammar) grammar_.emplace(request().grammar);
  usage_.prompt_tokens = prompt_size();
  tokens_.reserve(tokens_.size() + 256);
}

int64_t Job::wanted(int64_t count) const {
  const bool last = count == pending();
  if (request().pooling == Pooling::mean || scoring()) return count;
  if (request().pooling == Pooling::last || limits_.max_tokens > 0) return last ? 1 : 0;
  return 0;
}

void Job::found_computed(int64_t length) {
  if (!began_answer()) usage_.cached_tokens = length;
}

bool Job::ends_text(int32_t token) const {
  return !request().ignore_end && std::ranges::find(limits_.end_tokens, token) != limits_.end_tokens.end();
}

// Row i holds what follows the token it belongs to, so the first prompt token has no score.
void Job::score(int64_t count, std::span<const float> rows, int64_t width) {
  const int alternatives = request().logprobs.value_or(0);
  const int64_t begin = computed() - count;
  if (scored_ == 0) {
    handle_->add_prompt_score({.id = tokens_[0]});
    scored_ = 1;
  }
  // Some may have been scored before it was preempted.
  for (int64_t i = scored_ - 1 - begin; i < count && scored_ < prompt_size(); ++i, ++scored_) {
    const int32_t next = tokens_[static_cast<size_t>(begin + i + 1)];
    const auto row = rows.subspan(static_cast<size_t>(i * width), static_cast<size_t>(width));
    handle_->add_prompt_score({.id = next, .logprobs = token_logprobs(row, next, alternatives)});
  }
}

void Job::take_logits(int64_t count, std::span<const float> rows, int64_t width) {
  const bool answers = pending() == 0 && limits_.max_tokens > 0;
  if (scoring()) score(count, rows, width);
  if (answers) {
    add_token(rows.last(static_cast<size_t>(width)));
  } else if (pending() == 0) {
    end(Finish::length);
  }
}

void Job::take_hidden(int64_t count, std::span<const float> rows, int64_t width) {
  if (computed() == count) pooled_.assign(static_cast<size_t>(width), 0);
  for (size_t i = 0; i < rows.size(); ++i) pooled_[i % pooled_.size()] += static_cast<double>(rows[i]);
  if (pending() > 0) return;
  const double divisor = request().pooling == Pooling::mean ? static_cast<double>(prompt_size()) : 1;
  std::vector<float> embedding(pooled_.size());
  std::ranges::transform(pooled_, embedding.begin(), [&](double sum) { return static_cast<float>(sum / divisor); });
  handle_->set_embedding(std::move(embedding));
  end(Finish::stop);
}

void Job::add_token(std::span<const float> logits) {
  logits_.assign(logits.begin(), logits.end());
  // Rows behind the last token are padding of the matrix.
  const auto known = std::min(logits_.size(), static_cast<size_t>(limits_.vocabulary));
  std::fill(logits_.begin() + static_cast<std::ptrdiff_t>(known), logits_.end(),
            -std::numeric_limits<float>::infinity());
  if (grammar_) mask(*grammar_, *limits_.trie, logits_);
  const int32_t token = sampler_.draw(logits_, tokens_, tokens_.size());
  if (grammar_ && !limits_.trie->is_end(token)) grammar_->accept(limits_.trie->bytes(token));
  tokens_.push_back(token);
  ++usage_.generated_tokens;
  TokenRecord record{.id = token, .text_offset = text_bytes_};
  if (request().logprobs) record.logprobs = token_logprobs(logits, token, *request().logprobs);
  held_.push_back(std::move(record));
  if (ends_text(token)) return end(Finish::stop);
  std::string text = stream_.add(token);
  text_bytes_ += static_cast<int64_t>(text.size());
  give_out(stops_.add(text), false);
  if (stops_.matched() || (grammar_ && grammar_->must_end())) return end(Finish::stop);
  if (usage_.generated_tokens == limits_.max_tokens) end(Finish::length);
}

// `all`: also those without text of their own, at the end.
void Job::give_out(std::string text, bool all) {
  given_bytes_ += static_cast<int64_t>(text.size());
  const auto first_held = std::ranges::find_if(
      held_, [&](const TokenRecord& record) { return !all && record.text_offset >= given_bytes_; });
  std::vector<TokenRecord> out(std::make_move_iterator(held_.begin()), std::make_move_iterator(first_held));
  held_.erase(held_.begin(), first_held);
  handle_->add(std::move(text), std::move(out));
}

void Job::end(Finish finish, std::string error) {
  if (finish_) return;
  finish_ = finish;
  if (!stops_.matched()) {
    std::string text = stops_.add(stream_.finish());
    if (!stops_.matched()) text += stops_.finish();
    give_out(std::move(text), !stops_.matched());
    if (stops_.matched() && finish == Finish::length) finish_ = Finish::stop;
  }
  handle_->set_usage(usage_);
  handle_->end(*finish_, std::move(error));
}

}  // namespace pare
