// Sums of codebook entries against what is known of the best ones.
#include "pare/weights/encode/additive_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "pare/base/error.h"
#include "pare/base/random.h"

namespace pare {
namespace {

using testing::HasSubstr;

std::vector<float> normal_numbers(int64_t count, uint64_t seed) {
  const CounterRandom random(seed, "normal");
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    const double u = 1 - random.uniform(2 * i), v = random.uniform(2 * i + 1);
    values[i] = static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v));
  }
  return values;
}

double relative_error(const Weight& weight, const std::vector<float>& values) {
  const std::vector<float> made = weight.unpack();
  double error = 0, energy = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(static_cast<double>(values[i]) - static_cast<double>(made[i]), 2);
    energy += std::pow(static_cast<double>(values[i]), 2);
  }
  return error / energy;
}

double error_of(const AqlmScheme& scheme, int64_t rows, int64_t cols) {
  const std::vector<float> values = normal_numbers(rows * cols, 1);
  return relative_error(additive_codes(dense_weight({rows, cols}, Dtype::f32, values), scheme, "w"), values);
}

TEST(AdditiveFit, OneNumberAGroupIsTheLloydMaxQuantizer) {
  // Max 1960, table I: the least mean square error of 4 levels for a normal number is 0.1175, of 8 levels 0.03454
  EXPECT_NEAR(error_of({.bits = 2, .books = 1, .out_group = 1, .in_group = 1}, 64, 512), 0.1175, 0.002);
  EXPECT_NEAR(error_of({.bits = 3, .books = 1, .out_group = 1, .in_group = 1}, 64, 512), 0.03454, 0.002);
}

TEST(AdditiveFit, TwoBooksOfEightBitsBeatEveryScalarGridOfTwoBits) {
  // between the bound for 2 bits a number, 2^-4, and Lloyd and Max's 0.1175; codebooks take little of 256 x 1024
  const double error = error_of({.bits = 8, .books = 2, .out_group = 1, .in_group = 8}, 256, 1024);
  EXPECT_LT(error, 0.09);
  EXPECT_GT(error, 0.0625);
}

TEST(AdditiveFit, WhatIsMadeOfFewEntriesIsFoundExactly) {
  // rows of plus and minus one: four entries for each pair of numbers, and the scale of each row
  const CounterRandom random(7, "signs");
  std::vector<float> values(32 * 64);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = ((random.bits(i) & 1) != 0 ? 1.0f : -1.0f) * static_cast<float>(1 + i / 64 % 5);
  }
  const Weight made = additive_codes(dense_weight({32, 64}, Dtype::f32, values),
                                     {.bits = 4, .books = 1, .out_group = 1, .in_group = 2}, "w");
  EXPECT_EQ(made.unpack(), values);
}

TEST(AdditiveFit, RowsOfZerosStayZeroAndTheSameBytesComeTwice) {
  std::vector<float> values = normal_numbers(20 * 40, 3);
  std::fill(values.begin() + 40, values.begin() + 80, 0.0f);
  const Weight dense = dense_weight({20, 40}, Dtype::f32, values);
  const AqlmScheme scheme{.bits = 5, .books = 3, .out_group = 1, .in_group = 8};
  const Weight made = additive_codes(dense, scheme, "w");
  const std::vector<float> back = made.unpack();
  for (size_t c = 40; c < 80; ++c) EXPECT_EQ(back[c], 0);
  EXPECT_EQ(additive_codes(dense, scheme, "w").unpack(), back);
  EXPECT_EQ(made.describe(), "AQLM, 3 x 5 bits for 1 x 8");
}

TEST(AdditiveFit, WhatCannotBeFittedIsNamed) {
  std::vector<float> values = normal_numbers(4 * 16, 3);
  values[40] = NAN;
  const AqlmScheme scheme{.bits = 2, .books = 1, .out_group = 1, .in_group = 8};
  try {
    additive_codes(dense_weight({4, 16}, Dtype::f32, values), scheme, "model.w");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "model.w: row 2 holds a value that is not finite");
  }
  values[40] = 3e6f;
  EXPECT_THROW(additive_codes(dense_weight({4, 16}, Dtype::f32, values), scheme, "model.w"), InputError);
  EXPECT_EQ(additive_why_not(scheme, std::vector<int64_t>{4, 16}), "");
  EXPECT_THAT(additive_why_not(scheme, std::vector<int64_t>{4, 20}), HasSubstr("whole groups of 8"));
  EXPECT_THAT(additive_why_not({.bits = 16, .books = 1, .out_group = 1, .in_group = 8}, std::vector<int64_t>{4, 16}),
              HasSubstr("1 to 12 bits"));
  EXPECT_THAT(additive_why_not({.bits = 8, .books = 9, .out_group = 1, .in_group = 8}, std::vector<int64_t>{4, 16}),
              HasSubstr("1 to 8 codebooks"));
}

}  // namespace
}  // namespace pare
