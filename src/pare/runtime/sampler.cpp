#include "pare/runtime/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "pare/base/error.h"
#include "pare/base/random.h"

namespace pare {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

void in_range(double value, const char* name, double lowest, double highest, const char* expected) {
  if (value >= lowest && value <= highest) return;  // false for NaN
  throw UsageError(std::string(name) + ": " + std::to_string(value) + "; expected " + expected);
}

// NaN never compares larger, so it never wins. 16 lanes: what the compiler turns into vector maxima.
float largest_of(std::span<const float> logits) {
  std::array<float, 16> lanes;
  lanes.fill(kLowest);
  size_t i = 0;
  for (; i + lanes.size() <= logits.size(); i += lanes.size()) {
    for (size_t lane = 0; lane < lanes.size(); lane++) {
      lanes[lane] = logits[i + lane] > lanes[lane] ? logits[i + lane] : lanes[lane];
    }
  }
  float largest = *std::max_element(lanes.begin(), lanes.end());
  for (; i < logits.size(); i++) largest = logits[i] > largest ? logits[i] : largest;
  return largest;
}

float finite(float logit) {
  return std::min(logit, std::numeric_limits<float>::max());
}

}  // namespace

void check(const SamplingOptions& options, int64_t vocabulary) {
  constexpr double kAny = std::numeric_limits<double>::max();
  in_range(options.temperature, "temperature", 0, kAny, "0 (greedy) or more");
  in_range(options.top_k, "top_k", 0, kAny, "0 (all) or more");
  in_range(options.top_p, "top_p", 0, 1, "0 to 1");
  in_range(options.min_p, "min_p", 0, 1, "0 to 1");
  in_range(options.repeat_penalty, "repeat_penalty", std::numeric_limits<double>::min(), kAny, "more than 0; 1 is off");
  in_range(options.repeat_last, "repeat_last", -1, kAny, "-1 (all), 0 (none) or more");
  in_range(options.presence_penalty, "presence_penalty", -kAny, kAny, "a finite number");
  in_range(options.frequency_penalty, "frequency_penalty", -kAny, kAny, "a finite number");
  for (const auto& [id, bias] : options.logit_bias) {
    const std::string name = "logit_bias: token " + std::to_string(id);
    if (id < 0 || id >= vocabulary) {
      throw UsageError(name + ": expected an id of the vocabulary" +
                       (id < 0 ? "" : ", 0 to " + std::to_string(vocabulary - 1)));
    }
    if (!(bias < std::numeric_limits<float>::infinity())) {
      throw UsageError(name + ": " + std::to_string(bias) + "; expected a number, or -inf to forbid the token");
    }
  }
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  check(options_);
}

int32_t Sampler::draw(std::span<float> logits, std::span<const int32_t> history, uint64_t position) {
  punish(logits, history);
  for (const auto& [id, bias] : options_.logit_bias) {
    if (static_cast<size_t>(id) < logits.size()) logits[static_cast<size_t>(id)] += bias;
  }
  const float largest = largest_of(logits);
  if (largest == kLowest) {
    throw InputError("sampling: no token is left to draw: all " + std::to_string(logits.size()) +
                     " logits are -inf or NaN. A bias or grammar that forbids everything, or a damaged model");
  }
  if (options_.temperature == 0) {
    return static_cast<int32_t>(std::find(logits.begin(), logits.end(), largest) - logits.begin());
  }
  const double uniform = CounterRandom(options_.seed, "sampling").uniform(position);
  const size_t top_k = static_cast<size_t>(options_.top_k);
  if (top_k > 0 && top_k < logits.size()) {
    select(logits, top_k);
    weights_.clear();
    double total = 0;
    for (const Candidate& c : candidates_) {
      weights_.push_back(std::exp(static_cast<double>(c.logit) - candidates_[0].logit));
      total += weights_.back();
    }
    double mass = 0;
    size_t kept = 0;
    while (kept < candidates_.size() && (kept == 0 || mass < options_.top_p * total)) mass += weights_[kept++];
    if (options_.top_p < 1) candidates_.resize(kept);
  } else if (options_.top_p < 1) {
    select_nucleus(logits);
  } else {
    return draw_any(logits, finite(largest), uniform);
  }
  cut_at_min_p(candidates_[0].logit);

  weights_.clear();
  double total = 0;
  for (const Candidate& c : candidates_) {
    total += std::exp((static_cast<double>(c.logit) - candidates_[0].logit) / options_.temperature);
    weights_.push_back(total);
  }
  const auto hit = std::upper_bound(weights_.begin(), weights_.end(), uniform * total);
  return candidates_[std::min(static_cast<size_t>(hit - weights_.begin()), candidates_.size() - 1)].id;
}

void Sampler::punish(std::span<float> logits, std::span<const int32_t> history) {
  if (options_.repeat_penalty == 1 && options_.presence_penalty == 0 && options_.frequency_penalty == 0) return;
  if (options_.repeat_last >= 0) {
    history = history.last(std::min(history.size(), static_cast<size_t>(options_.repeat_last)));
  }
  seen_.assign(history.begin(), history.end());
  std::sort(seen_.begin(), seen_.end());
  for (size_t i = 0; i < seen_.size();) {
    const int32_t id = seen_[i];
    const size_t begin = i;
    while (i < seen_.size() && seen_[i] == id) i++;
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) continue;
    float& logit = logits[static_cast<size_t>(id)];
    double value = logit;
    value = value > 0 ? value / options_.repeat_penalty : value * options_.repeat_penalty;
    value -= static_cast<double>(i - begin) * options_.frequency_penalty + options_.presence_penalty;
    logit = static_cast<float>(value);
  }
}

// One pass with a bar that rises: what is above it is gathered, and whenever twice the count is there, the smaller half
// goes and the smallest that stays is the bar. Ids come in rising order, so at the bar the one already there wins.
void Sampler::select(std::span<const float> logits, size_t count) {
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const size_t room = std::max(2 * count, size_t{256});
  float bar = kLowest;
  candidates_.clear();
  const auto shrink = [&] {
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(count - 1),
                     candidates_.end(), before);
    candidates_.resize(count);
    bar = candidates_.back().logit;
  };
  for (size_t i = 0; i < logits.size(); i++) {
    if (!(logits[i] > bar)) continue;
    candidates_.push_back({finite(logits[i]), static_cast<int32_t>(i)});
    if (candidates_.size() == room) shrink();
  }
  if (candidates_.size() > count) shrink();
  std::sort(candidates_.begin(), candidates_.end(), before);
}

// Without top-k the sum of the softmax goes over all, but the head that reaches top_p is mostly short: 256 are tried,
// then eight times as many.
void Sampler::select_nucleus(std::span<const float> logits) {
  const double largest = finite(largest_of(logits));
  double total = 0;
  for (float logit : logits) {
    if (logit > kLowest) total += std::exp(finite(logit) - largest);
  }
  for (size_t count = 256;; count *= 8) {
    select(logits, std::min(count, logits.size()));
    double mass = 0;
    for (size_t i = 0; i < candidates_.size(); i++) {
      mass += std::exp(candidates_[i].logit - largest);
      if (mass >= options_.top_p * total) {
        candidates_.resize(i + 1);
        return;
      }
    }
    if (count >= logits.size()) return;
  }
}

void Sampler::cut_at_min_p(float largest) {
  const double bar = std::log(options_.min_p);  // -inf for 0
  size_t kept = 1;
  while (kept < candidates_.size() && static_cast<double>(candidates_[kept].logit) - largest >= bar) kept++;
  candidates_.resize(kept);
}

// Neither top-k nor top-p: nothing needs an order, the ids have one.
int32_t Sampler::draw_any(std::span<const float> logits, float largest, double uniform) const {
  const double bar = std::log(options_.min_p);
  const auto weight = [&](float logit) {
    const double below = static_cast<double>(finite(logit)) - largest;
    return logit > kLowest && below >= bar ? std::exp(below / options_.temperature) : 0.0;
  };
  double total = 0;
  for (float logit : logits) total += weight(logit);
  double left = uniform * total;
  int32_t last = 0;
  for (size_t i = 0; i < logits.size(); i++) {
    const double own = weight(logits[i]);
    if (own == 0) continue;
    last = static_cast<int32_t>(i);
    if (left < own) break;
    left -= own;
  }
  return last;
}

}  // namespace pare
