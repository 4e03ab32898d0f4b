#include "pare/runtime/token_logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pare/base/error.h"

namespace pare {

TokenLogprobs token_logprobs(std::span<const float> logits, int32_t chosen, int top) {
  PARE_ASSERT(chosen >= 0 && static_cast<size_t>(chosen) < logits.size());
  constexpr double kLowest = -std::numeric_limits<double>::infinity();
  const auto value = [&](size_t id) {
    const float logit = logits[id];
    return std::isnan(logit) ? kLowest : static_cast<double>(std::min(logit, std::numeric_limits<float>::max()));
  };
  double largest = kLowest;
  for (size_t i = 0; i < logits.size(); i++) largest = std::max(largest, value(i));
  double sum = 0;
  if (largest > kLowest) {
    for (size_t i = 0; i < logits.size(); i++) sum += std::exp(value(i) - largest);
  }
  const auto logprob = [&](size_t id) { return largest > kLowest ? value(id) - largest - std::log(sum) : kLowest; };

  TokenLogprobs result;
  result.chosen = {chosen, logprob(static_cast<size_t>(chosen))};
  // The best so far, sorted: `top` is 20 at most in the API, so an insertion is a few moves and rare
  const size_t count = std::min(static_cast<size_t>(std::max(top, 0)), logits.size());
  std::vector<std::pair<double, int32_t>> best;
  for (size_t i = 0; i < logits.size() && count > 0; i++) {
    const double own = value(i);
    if (best.size() == count && !(own > best.back().first)) continue;
    if (best.size() == count) best.pop_back();
    const auto at = std::upper_bound(best.begin(), best.end(), own,
                                     [](double mine, const auto& other) { return mine > other.first; });
    best.insert(at, {own, static_cast<int32_t>(i)});
  }
  for (const auto& entry : best) result.top.push_back({entry.second, logprob(static_cast<size_t>(entry.second))});
  return result;
}

}  // namespace pare
