#include "pare/weights/pattern.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "pare/base/error.h"

namespace pare {

namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

template <class T>
std::optional<T> whole(std::string_view text) {
  text = trimmed(text);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  throw UsageError("sparsity \"" + std::string(text) + "\": " + why +
                   ". Give the share of zeros (0.5 or 50%) or what is kept of each group (2:4).");
}

}  // namespace

Pattern Pattern::parse(std::string_view text) {
  Pattern pattern;
  const std::string_view body = trimmed(text);
  if (const size_t colon = body.find(':'); colon != std::string_view::npos) {
    const auto n = whole<int>(body.substr(0, colon));
    const auto m = whole<int>(body.substr(colon + 1));
    if (!n || !m) refuse(text, "not n:m with two whole numbers");
    if (*m < 2 || *m > Pattern::kLargestM) refuse(text, "m must be 2 to " + std::to_string(Pattern::kLargestM));
    if (*n < 1 || *n > *m) refuse(text, "n must be 1 to m");
    pattern.n = *n;
    pattern.m = *m;
    pattern.sparsity = 1.0 - static_cast<double>(*n) / *m;
    return pattern;
  }
  const bool percent = !body.empty() && body.back() == '%';
  const auto share = whole<double>(percent ? body.substr(0, body.size() - 1) : body);
  if (!share) refuse(text, "not a number");
  pattern.sparsity = percent ? *share / 100 : *share;
  if (!(pattern.sparsity >= 0 && pattern.sparsity < 1)) {
    refuse(text, "must be at least 0 and less than 1 (100 %)");
  }
  return pattern;
}

std::string Pattern::text() const {
  if (structured()) return std::to_string(n) + ":" + std::to_string(m);
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, sparsity).ptr;
  return std::string(buffer, end);
}

int64_t removed_of(const Pattern& pattern, int64_t count) {
  return std::clamp<int64_t>(std::llround(pattern.sparsity * static_cast<double>(count)), 0, count);
}

int64_t kept_count(const Pattern& pattern, PruneUnit unit, int64_t out, int64_t in, int64_t tile) {
  PARE_ASSERT(out >= 0 && in >= 0 && tile > 0);
  if (pattern.structured()) {
    PARE_ASSERT(in % pattern.m == 0);
    return out * (in / pattern.m) * pattern.n;
  }
  switch (unit) {
    case PruneUnit::layer:
      return out * in - removed_of(pattern, out * in);
    case PruneUnit::row:
      return out * (in - removed_of(pattern, in));
    case PruneUnit::tile: {
      const int64_t whole_tiles = in / tile, rest = in % tile;
      return whole_tiles * (out * tile - removed_of(pattern, out * tile)) + out * rest -
             removed_of(pattern, out * rest);
    }
  }
  PARE_ASSERT(false);
}

}  // namespace pare
