#include "pare/runtime/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "pare/base/error.h"

namespace pare {

int64_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const auto [end, unused] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return end - a.begin();
}

void PrefixCache::insert(std::vector<int32_t> tokens, std::unique_ptr<State> state) {
  const auto length = static_cast<int64_t>(tokens.size());
  PARE_ASSERT(state->length() == length);
  if (length == 0) return;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const int64_t common = common_prefix(entry->tokens, tokens);
    if (common == length) {  // it holds all of this one
      entries_.splice(entries_.begin(), entries_, entry);
      return;
    }
    entry = common == static_cast<int64_t>(entry->tokens.size()) ? erase(entry) : std::next(entry);
  }
  bytes_ += state->bytes();
  entries_.push_front({std::move(tokens), std::move(state)});
}

int64_t PrefixCache::longest(std::span<const int32_t> prompt) const {
  int64_t best = 0;
  for (const Entry& entry : entries_) best = std::max(best, common_prefix(entry.tokens, prompt));
  return best;
}

std::unique_ptr<PrefixCache::State> PrefixCache::begin(std::span<const int32_t> prompt, int64_t length,
                                                       uint64_t allowed_bytes) {
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& e) { return common_prefix(e.tokens, prompt) >= length; });
  PARE_ASSERT(entry != entries_.end());
  entries_.splice(entries_.begin(), entries_, entry);
  const auto entry_tokens = static_cast<int64_t>(entry->tokens.size());
  const uint64_t copy_bytes =
      entry->state->bytes() * static_cast<uint64_t>(length) / static_cast<uint64_t>(entry_tokens);
  if (length < entry_tokens) {
    while (bytes() + copy_bytes > allowed_bytes && entries_.size() > 1) drop_oldest();
    if (bytes() + copy_bytes <= allowed_bytes) return entry->state->fork(length);
  }
  bytes_ -= entry->state->bytes();
  auto state = std::move(entry->state);
  entries_.erase(entry);
  state->truncate(length);
  return state;
}

bool PrefixCache::drop_oldest() {
  if (entries_.empty()) return false;
  erase(std::prev(entries_.end()));
  return true;
}

void PrefixCache::clear() {
  entries_.clear();
  bytes_ = 0;
}

std::list<PrefixCache::Entry>::iterator PrefixCache::erase(std::list<Entry>::iterator entry) {
  bytes_ -= entry->state->bytes();
  return entries_.erase(entry);
}

}  // namespace pare
