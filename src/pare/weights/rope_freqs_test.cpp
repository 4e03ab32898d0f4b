#include "pare/weights/rope_freqs.h"

#include <gtest/gtest.h>

#include <cmath>

namespace pare {
namespace {

RopeScaling llama3(double factor, double low, double high, int64_t old) {
  RopeScaling scaling;
  scaling.type = RopeScaling::Type::llama3;
  scaling.factor = factor;
  scaling.low_freq_factor = low;
  scaling.high_freq_factor = high;
  scaling.original_max_positions = old;
  return scaling;
}

TEST(RopeFreqs, PublishedLlamasComeBackExactly) {
  for (const auto& [factor, head_dim] : {std::pair(8.0, 128), std::pair(32.0, 64), std::pair(32.0, 128)}) {
    const RopeScaling scaling = llama3(factor, 1, 4, 8192);
    const auto back = fit_llama3(rope_divisors(scaling, 500000, head_dim), 500000);
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(*back, scaling);
  }
}

TEST(RopeFreqs, OtherValuesComeBackScaledToALowFactorOfOne) {
  const RopeScaling odd = llama3(5, 1, 7, 10000), doubled = llama3(4, 2, 6, 24000);
  EXPECT_EQ(fit_llama3(rope_divisors(odd, 500000, 128), 500000), odd);
  EXPECT_EQ(fit_llama3(rope_divisors(doubled, 500000, 128), 500000), llama3(4, 1, 3, 12000));
}

TEST(RopeFreqs, NarrowHeadsLeaveAChoiceAndAnyAnswerMakesTheSameDivisors) {
  for (int64_t head_dim : {2, 4, 6, 8, 16}) {
    for (int64_t old : {8, 64, 256, 700, 5000}) {
      const std::vector<float> divisors = rope_divisors(llama3(8, 1, 4, old), 100000, head_dim);
      const auto back = fit_llama3(divisors, 100000);
      ASSERT_TRUE(back.has_value()) << head_dim << ", " << old;
      if (back->type == RopeScaling::Type::none) continue;  // every divisor is 1
      const std::vector<float> again = rope_divisors(*back, 100000, head_dim);
      for (size_t i = 0; i < again.size(); ++i) EXPECT_FLOAT_EQ(again[i], divisors[i]) << head_dim << ", " << old;
    }
  }
}

TEST(RopeFreqs, FrequenciesRoundedToF32StillFit) {
  // as llama.cpp's converter computes them: all in f32
  std::vector<float> divisors;
  for (int i = 0; i < 64; ++i) {
    const float f = 1.0f / std::pow(500000.0f, static_cast<float>(2 * i) / 128.0f);
    const float length = 2.0f * 3.14159265f / f;
    const float t = (8192.0f / length - 1.0f) / 3.0f;
    divisors.push_back(length < 2048 ? 1.0f : length > 8192 ? 8.0f : 1.0f / ((1.0f - t) / 8.0f + t));
  }
  EXPECT_EQ(fit_llama3(divisors, 500000), llama3(8, 1, 4, 8192));
}

TEST(RopeFreqs, NoScalingAndForeignDivisorsAreToldApart) {
  EXPECT_EQ(fit_llama3(std::vector<float>(64, 1.0f), 10000), RopeScaling{});
  std::vector<float> odd = rope_divisors(llama3(8, 1, 4, 8192), 500000, 128);
  odd[3] = 2;
  EXPECT_FALSE(fit_llama3(odd, 500000));
  odd[3] = std::nanf("");
  EXPECT_FALSE(fit_llama3(odd, 500000));
  EXPECT_FALSE(fit_llama3({}, 500000));
  EXPECT_FALSE(fit_llama3(std::vector<float>{1.0f, 0.5f}, 500000));
}

}  // namespace
}  // namespace pare
