#include "pare/runtime/text_stream.h"

#include <algorithm>
#include <span>

namespace pare {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool is_byte_token(std::string_view piece) {
  return piece.size() == 6 && piece.starts_with("<0x") && piece[5] == '>';
}

}  // namespace

std::string TextStream::add(int32_t token) {
  tokens_.push_back(token);
  if (tokenizer_->is_special(token)) return "";  // left out, and a run of bytes goes on behind it
  if (is_byte_token(tokenizer_->token(token))) return "";
  const std::span<const int32_t> all(tokens_);
  const std::string now = tokenizer_->decode(all.subspan(context_));
  if (now.ends_with(kReplacement)) return "";
  const std::string before = settled_ == context_ ? "" : tokenizer_->decode(all.subspan(context_, settled_ - context_));
  if (!now.starts_with(before) || now.size() == before.size()) return "";
  context_ = settled_;
  settled_ = tokens_.size();
  given_bytes_ += now.size() - before.size();
  return now.substr(before.size());
}

std::string TextStream::finish() {
  if (settled_ == tokens_.size()) return "";
  const std::string whole = tokenizer_->decode(tokens_);
  settled_ = tokens_.size();
  return whole.size() <= given_bytes_ ? "" : whole.substr(given_bytes_);
}

std::string StopMatcher::add(std::string_view text) {
  if (matched_) return "";
  held_ += text;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    matched_ = true;
    return std::exchange(held_, "").substr(0, first);
  }
  size_t keep = 0;  // the longest end of held_ that begins a stop string
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length) {
      if (held_.compare(held_.size() - length, length, stop, 0, length) == 0) keep = length;
    }
  }
  // Never half of a character: a stop string may share its first bytes with another character.
  std::string sure = held_.substr(0, held_.size() - keep);
  held_.erase(0, sure.size());
  return sure;
}

std::string StopMatcher::finish() {
  return std::exchange(held_, "");
}

}  // namespace pare
