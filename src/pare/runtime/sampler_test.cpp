#include "pare/runtime/sampler.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pare/base/error.h"
#include "pare/base/random.h"
#include "pare/runtime/token_logprobs.h"

namespace pare {
namespace {

using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_logits(size_t count, uint64_t seed, bool coarse = false) {
  const CounterRandom random(seed, "sampler test");
  std::vector<float> logits(count);
  for (size_t i = 0; i < count; i++) {
    const double value = 8 * random.uniform(i) * random.uniform(count + i);
    logits[i] = static_cast<float>(coarse ? std::floor(2 * value) : value);  // coarse: with many that are equal
  }
  return logits;
}

// The definition, with everything sorted: the probability of each id.
std::vector<double> defined(std::vector<float> logits, const std::vector<int32_t>& history, const SamplingOptions& o) {
  const size_t last = o.repeat_last < 0 ? history.size() : std::min<size_t>(history.size(), o.repeat_last);
  for (size_t id = 0; id < logits.size(); id++) {
    const auto seen = std::count(history.end() - static_cast<std::ptrdiff_t>(last), history.end(), id);
    if (seen == 0) continue;
    const double repeated = logits[id] > 0 ? logits[id] / o.repeat_penalty : logits[id] * o.repeat_penalty;
    logits[id] = static_cast<float>(repeated - static_cast<double>(seen) * o.frequency_penalty - o.presence_penalty);
  }
  for (const auto& [id, bias] : o.logit_bias) logits[static_cast<size_t>(id)] += bias;
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (o.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(o.top_k)));
  const auto softmax = [&](double temperature) {
    std::vector<double> p;
    for (size_t id : order) p.push_back(std::exp((static_cast<double>(logits[id]) - logits[order[0]]) / temperature));
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& value : p) value /= sum;
    return p;
  };
  std::vector<double> p = softmax(1);
  size_t kept = 0;
  for (double mass = 0; kept < p.size() && (kept == 0 || mass < o.top_p); kept++) mass += p[kept];
  if (o.top_p < 1) order.resize(kept);
  for (kept = 1; kept < order.size() && p[kept] >= o.min_p * p[0];) kept++;
  order.resize(kept);
  p = softmax(o.temperature);
  std::vector<double> result(logits.size());
  for (size_t i = 0; i < order.size(); i++) result[order[i]] = p[i];
  return result;
}

// Draws at many positions, and compares the counts with the probabilities: exactly where they are 0, else by chi^2.
void expect_distribution(const SamplingOptions& options, const std::vector<float>& logits,
                         const std::vector<int32_t>& history) {
  constexpr int kDraws = 20000;
  const std::vector<double> expected = defined(logits, history, options);
  std::vector<int> counts(logits.size());
  Sampler sampler(options);
  for (uint64_t position = 0; position < kDraws; position++) {
    std::vector<float> scratch = logits;
    counts[static_cast<size_t>(sampler.draw(scratch, history, position))]++;
  }
  double chi2 = 0, freedom = -1, rest_expected = 0, rest = 0;
  for (size_t i = 0; i < counts.size(); i++) {
    if (expected[i] == 0) {
      EXPECT_EQ(counts[i], 0) << "id " << i;
    } else if (expected[i] * kDraws < 10) {
      rest_expected += expected[i] * kDraws;
      rest += counts[i];
    } else {
      chi2 += std::pow(counts[i] - expected[i] * kDraws, 2) / (expected[i] * kDraws);
      freedom++;
    }
  }
  if (rest_expected > 10) {
    chi2 += std::pow(rest - rest_expected, 2) / rest_expected;
    freedom++;
  }
  EXPECT_LT(chi2, freedom + 5 * std::sqrt(2 * std::max(freedom, 1.0)));  // five standard deviations
}

TEST(Sampler, DrawsAsTheDefinitionSays) {
  std::vector<SamplingOptions> cases = {
      {},
      {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0},
      {.temperature = 2, .top_k = 0, .top_p = 1, .min_p = 0.2},
      {.temperature = 0.5, .top_k = 0, .top_p = 0.7, .min_p = 0},
      {.temperature = 1.5, .top_k = 7, .top_p = 1, .min_p = 0},
      {.temperature = 1, .top_k = 13, .top_p = 0.6, .min_p = 0.5},
      {.temperature = 1, .top_k = 1000, .top_p = 0.9, .min_p = 0},
      {.temperature = 1, .top_k = 0, .top_p = 0, .min_p = 0},
      {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 1},
      {.temperature = 1, .top_k = 20, .top_p = 1, .min_p = 0, .repeat_penalty = 1.7, .repeat_last = 5},
      {.temperature = 1,
       .top_k = 0,
       .top_p = 0.9,
       .min_p = 0,
       .repeat_penalty = 1.3,
       .repeat_last = -1,
       .presence_penalty = 0.5,
       .frequency_penalty = 0.25},
      {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .logit_bias = {{3, 6.0f}, {5, -kInfinity}, {0, -1.5f}}},
  };
  const std::vector<int32_t> history = {1, 2, 3, 3, 3, 100, 101, 3, 2, 126, 9, 9, 5000};
  for (size_t i = 0; i < cases.size(); i++) {
    for (bool coarse : {false, true}) {
      SCOPED_TRACE("case " + std::to_string(i) + (coarse ? ", coarse" : ""));
      cases[i].seed = i;
      expect_distribution(cases[i], random_logits(127, i, coarse), history);
    }
  }
}

TEST(Sampler, GreedyTakesTheLargestAndOfEqualsTheFirst) {
  Sampler greedy({.temperature = 0});
  for (size_t count : {1, 2, 15, 16, 17, 127, 1000}) {
    for (uint64_t seed : {1, 2, 3}) {
      SCOPED_TRACE(std::to_string(count) + " logits, seed " + std::to_string(seed));
      std::vector<float> logits = random_logits(count, seed, true);
      const auto expected = std::max_element(logits.begin(), logits.end()) - logits.begin();
      EXPECT_EQ(greedy.draw(logits, {}, 0), expected);
    }
  }
}

TEST(Sampler, LargeVocabulariesGiveTheSameHeadAsASort) {
  const std::vector<float> logits = random_logits(200'000, 5, true);  // 16 values: most are equal
  for (int top_k : {1, 2, 40, 300, 5000}) {
    std::vector<int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
    order.resize(static_cast<size_t>(top_k));
    std::sort(order.begin(), order.end());
    Sampler sampler({.temperature = 1e6, .top_k = top_k, .top_p = 1, .min_p = 0, .seed = 3});
    std::vector<int32_t> drawn;
    for (uint64_t position = 0; position < 20; position++) {
      std::vector<float> scratch = logits;
      drawn.push_back(sampler.draw(scratch, {}, position));
      EXPECT_TRUE(std::binary_search(order.begin(), order.end(), drawn.back())) << drawn.back() << ", top_k " << top_k;
    }
    if (top_k > 40) {
      EXPECT_NE(drawn[0], drawn[1]);
    }
  }
}

TEST(Sampler, IsAFunctionOfSeedAndPosition) {
  const std::vector<float> logits = random_logits(1000, 1);
  const auto drawn = [&](uint64_t seed, bool backwards) {
    Sampler sampler({.top_k = 0, .top_p = 1, .min_p = 0, .seed = seed});
    std::vector<int32_t> ids(50);
    for (size_t i = 0; i < ids.size(); i++) {
      const size_t position = backwards ? ids.size() - 1 - i : i;
      std::vector<float> scratch = logits;
      ids[position] = sampler.draw(scratch, {}, position);
    }
    return ids;
  };
  EXPECT_EQ(drawn(7, false), drawn(7, true));
  EXPECT_NE(drawn(7, false), drawn(8, false));
}

TEST(Sampler, TakesWhatIsNotFinite) {
  for (double temperature : {0.0, 1e-300, 0.8}) {
    for (int top_k : {0, 2, 40}) {
      for (double top_p : {0.5, 1.0}) {
        Sampler sampler({.temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = 0});
        std::vector<float> logits(33, kNan);
        logits[7] = -1e30f;
        EXPECT_EQ(sampler.draw(logits, {}, 0), 7);
        logits[9] = kInfinity;
        EXPECT_EQ(sampler.draw(logits, {}, 0), 9);
        logits.assign(33, -kInfinity);
        logits[3] = kNan;
        EXPECT_THROW(sampler.draw(logits, {}, 0), InputError);
        EXPECT_THROW(sampler.draw({}, {}, 0), InputError);
      }
    }
  }
  Sampler penalized({.repeat_penalty = 2, .presence_penalty = 1e308, .frequency_penalty = 1e308});
  std::vector<float> logits = {kNan, kInfinity, -kInfinity, 1, 2};
  EXPECT_EQ(penalized.draw(logits, std::vector<int32_t>{0, 1, 1, 2, 3, -5, 99}, 0), 4);
}

TEST(Sampler, SaysWhichOptionIsWrong) {
  const auto message = [](const SamplingOptions& options) -> std::string {
    try {
      check(options, 100);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  const double nan = std::nan("");
  EXPECT_EQ(message({}), "");
  EXPECT_THAT(message({.temperature = nan}), HasSubstr("temperature: nan; expected 0 (greedy) or more"));
  EXPECT_THAT(message({.temperature = -0.1}), HasSubstr("temperature"));
  EXPECT_THAT(message({.temperature = kInfinity}), HasSubstr("temperature"));
  EXPECT_THAT(message({.top_k = -1}), HasSubstr("top_k"));
  EXPECT_THAT(message({.top_p = 1.1}), HasSubstr("top_p"));
  EXPECT_THAT(message({.top_p = nan}), HasSubstr("top_p"));
  EXPECT_THAT(message({.min_p = -1}), HasSubstr("min_p"));
  EXPECT_THAT(message({.repeat_penalty = 0}), HasSubstr("repeat_penalty"));
  EXPECT_THAT(message({.repeat_last = -2}), HasSubstr("repeat_last"));
  EXPECT_THAT(message({.presence_penalty = nan}), HasSubstr("presence_penalty"));
  EXPECT_THAT(message({.frequency_penalty = kInfinity}), HasSubstr("frequency_penalty"));
  EXPECT_THAT(message({.logit_bias = {{100, 1.0f}}}),
              HasSubstr("token 100: expected an id of the vocabulary, 0 to 99"));
  EXPECT_THAT(message({.logit_bias = {{-1, 1.0f}}}), HasSubstr("token -1"));
  EXPECT_THAT(message({.logit_bias = {{1, kNan}}}), HasSubstr("token 1"));
}

TEST(TokenLogprobs, AreTheLogSoftmax) {
  std::vector<float> logits = random_logits(1003, 4, true);
  for (float& logit : logits) logit += 1e4f;  // exp of which would overflow
  long double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<long double>(logit) - 1e4L);
  const TokenLogprobs result = token_logprobs(logits, 17, 5);
  EXPECT_EQ(result.chosen.id, 17);
  EXPECT_NEAR(result.chosen.logprob, static_cast<double>(logits[17] - 1e4L - std::log(sum)), 1e-12);
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  ASSERT_EQ(result.top.size(), 5u);
  for (size_t i = 0; i < 5; i++) {
    EXPECT_EQ(result.top[i].id, order[i]);
    EXPECT_NEAR(result.top[i].logprob, static_cast<double>(logits[order[i]] - 1e4L - std::log(sum)), 1e-12);
  }
}

TEST(TokenLogprobs, TakeWhatIsNotFinite) {
  const TokenLogprobs one = token_logprobs(std::vector<float>{kNan, 3, -kInfinity}, 1, 10);
  EXPECT_EQ(one.chosen.logprob, 0);
  ASSERT_EQ(one.top.size(), 3u);
  EXPECT_EQ(one.top[0].id, 1);
  EXPECT_EQ(one.top[1].logprob, -kInfinity);
  EXPECT_EQ(token_logprobs(std::vector<float>{kNan, -kInfinity}, 0, 1).chosen.logprob, -kInfinity);
  EXPECT_EQ(token_logprobs(std::vector<float>{kInfinity, 1}, 0, 0).chosen.logprob, 0);
  EXPECT_TRUE(token_logprobs(std::vector<float>{1, 2}, 0, 0).top.empty());
}

}  // namespace
}  // namespace pare
