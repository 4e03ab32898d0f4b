#include "pare/weights/weight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "pare/base/error.h"
#include "pare/base/float_types.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/weight_form.h"
#include "pare/weights/weights_for_tests.h"

namespace pare {
namespace {

using testing::HasSubstr;

// The sentence in weight.h, element by element.
float value_slowly(const Weight& weight, int64_t r, int64_t c) {
  const auto& ints = std::get<GroupedInts>(weight.base);
  const int64_t cols = weight.cols(), groups = (cols + ints.group - 1) / ints.group;
  int code = 0;
  for (int b = 0; b < ints.bits; ++b) {
    const int64_t bit = c * ints.bits + b;
    code |= ((ints.codes[static_cast<size_t>(r * packed_bytes(cols, ints.bits) + bit / 8)] >> (bit % 8)) & 1) << b;
  }
  const int64_t g = ints.group_index.empty() ? c / ints.group : ints.group_index[static_cast<size_t>(c)];
  const size_t at = static_cast<size_t>(r * groups + g);
  const int zero = !ints.zeros.empty() ? ints.zeros[at] : ints.ternary ? 1 : 1 << (ints.bits - 1);
  if (weight.mask && ((weight.mask->bits[static_cast<size_t>(r * ((cols + 7) / 8) + c / 8)] >> (c % 8)) & 1) == 0) {
    return 0;
  }
  return ints.scales[at] * static_cast<float>(code - zero);
}

TEST(Weight, UnpackedIntsAgreeWithTheDefinition) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (int64_t cols : {1, 7, 33, 129}) {
      for (int variant = 0; variant < 5; ++variant) {
        SCOPED_TRACE(std::to_string(bits) + " bits, " + std::to_string(cols) + " columns, variant " +
                     std::to_string(variant));
        const Weight weight = random_ints({.rows = 5,
                                           .cols = cols,
                                           .bits = bits,
                                           .group = 32,
                                           .symmetric = variant == 0,
                                           .shuffled_groups = variant == 2,
                                           .ternary = variant == 3 && bits == 2,
                                           .masked = variant == 4,
                                           .seed = 5});
        check_weight(weight, "w");
        const std::vector<float> values = weight.unpack();
        for (int64_t r = 0; r < 5; ++r) {
          for (int64_t c = 0; c < cols; ++c) {
            ASSERT_EQ(values[static_cast<size_t>(r * cols + c)], value_slowly(weight, r, c)) << r << ", " << c;
          }
        }
        std::vector<float> some(static_cast<size_t>(2 * cols));
        weight.unpack_rows(3, 2, some);
        EXPECT_TRUE(std::equal(some.begin(), some.end(), values.begin() + 3 * cols));
      }
    }
  }
}

TEST(Weight, EveryCodeOfEveryGridHasItsValue) {
  for (int bits = 2; bits <= 8; ++bits) {
    const int count = 1 << bits;
    GroupedInts ints{.bits = bits, .group = count, .symmetric = true, .scales = {0.5f}};
    std::vector<uint8_t> codes;
    for (int code = 0; code < count; ++code) codes.push_back(static_cast<uint8_t>(code));
    ints.codes.resize(static_cast<size_t>(packed_bytes(count, bits)));
    pack_bits(codes, bits, ints.codes);
    const std::vector<float> values = Weight{{1, count}, ints, {}}.unpack();
    for (int code = 0; code < count; ++code) {
      EXPECT_EQ(values[static_cast<size_t>(code)], 0.5f * static_cast<float>(code - count / 2)) << bits << ": " << code;
    }
  }
}

TEST(Weight, DenseValuesAreRoundedToTheirTypeAndMasked) {
  const std::vector<float> values{1.0f, 1.00390625f, -3.0f, 0.1f, 5.0f, 6.0f};
  Weight weight = dense_weight({2, 3}, Dtype::bf16, values);
  EXPECT_EQ(weight.unpack()[1], 1.0f);
  EXPECT_EQ(weight.unpack()[3], bf16_to_float(float_to_bf16(0.1f)));
  EXPECT_EQ(weight.describe(), "BF16");
  EXPECT_EQ(weight.bytes(), 12u);
  weight.mask = Mask{{0b101, 0b010}, 0, 0};
  EXPECT_EQ(weight.unpack()[1], 0.0f);
  EXPECT_EQ(weight.unpack()[4], 5.0f);
  EXPECT_EQ(weight.describe(), "50.0 % kept of BF16");
  EXPECT_EQ(weight.bytes(), 3u * 2 + 2);
}

TEST(Weight, ScalarsAndEmptyMatricesAreWeightsToo) {
  const float one = 1.5f;
  const Weight scalar = dense_weight({}, Dtype::f32, std::span(&one, 1));
  EXPECT_EQ(scalar.unpack(), std::vector<float>{1.5f});
  const Weight empty = dense_weight({0, 8}, Dtype::f32, {});
  EXPECT_TRUE(empty.unpack().empty());
  EXPECT_EQ(empty.bits_per_weight(), 0);
  check_weight(scalar, "s");
  check_weight(empty, "e");
}

TEST(Weight, SaysWhatItIsInTheWordsOfItsForm) {
  Weight weight = random_ints({.rows = 4, .cols = 128, .bits = 4, .group = 64, .symmetric = false, .seed = 1});
  EXPECT_EQ(weight.describe(), "4-bit, groups of 64, asymmetric");
  EXPECT_EQ(weight.bytes(), 4u * 64 + 8 * 2 + 8 / 2);
  EXPECT_DOUBLE_EQ(weight.bits_per_weight(), 8.0 * (256 + 16 + 4) / 512);
  EXPECT_EQ(random_ints({.rows = 4, .cols = 128, .bits = 3, .group = 128, .seed = 1}).describe(),
            "3-bit, one group a row, symmetric");
  EXPECT_EQ(random_ints({.rows = 4, .cols = 128, .bits = 2, .group = 64, .ternary = true, .seed = 1}).describe(),
            "ternary, groups of 64, symmetric");
  const std::vector<float> zeros(16);
  Weight sparse = dense_weight({2, 8}, Dtype::f16, zeros);
  sparse.mask = Mask{{0x55, 0x33}, 2, 4};
  EXPECT_EQ(sparse.describe(), "2:4 of F16");
  EXPECT_EQ(form_of(sparse).kept, 8);
  const Weight q4k{{1, 256}, GgufBlocks{ggml_type_named("Q4_K"), Bytes(std::vector<std::byte>(144))}, {}};
  EXPECT_EQ(q4k.describe(), "Q4_K");
  EXPECT_EQ(q4k.unpack(), std::vector<float>(256));
  check_weight(q4k, "q");
}

TEST(Weight, FaultsAreNamed) {
  const RandomInts good{.rows = 3, .cols = 40, .bits = 4, .group = 16, .symmetric = false, .seed = 2};
  struct Case {
    const char* message;
    std::function<void(Weight&)> damage;
  };
  const auto ints = [](Weight& w) -> GroupedInts& { return std::get<GroupedInts>(w.base); };
  const std::vector<Case> cases{
      {"9 bits; expected 2 to 8", [&](Weight& w) { ints(w).bits = 9; }},
      {"bytes of codes: found 59, expected 60", [&](Weight& w) { ints(w).codes.pop_back(); }},
      {"scales: found 10, expected 9", [&](Weight& w) { ints(w).scales.push_back(1); }},
      {"the scale of row 1, group 2 is not finite", [&](Weight& w) { ints(w).scales[5] = std::nanf(""); }},
      {"which F16 does not hold exactly", [&](Weight& w) { ints(w).scales[5] = 0.1f; }},
      {"zero points: found 8, expected 9", [&](Weight& w) { ints(w).zeros.pop_back(); }},
      {"zero point 16; the largest is 15", [&](Weight& w) { ints(w).zeros[0] = 16; }},
      {"symmetric, yet it has zero points", [&](Weight& w) { ints(w).symmetric = true; }},
      {"group 0; expected at least 1", [&](Weight& w) { ints(w).group = 0; }},
      {"column 39 is of group 3; there are 3 groups",
       [&](Weight& w) {
         ints(w).group_index.assign(40, 0);
         ints(w).group_index[39] = 3;
       }},
      {"ternary codes have 2 bits, not 4", [&](Weight& w) { ints(w).ternary = true; }},
      {"scales of type U8", [&](Weight& w) { ints(w).scale_dtype = Dtype::u8; }},
      {"packed weights are matrices",
       [&](Weight& w) {
         w.shape = {3, 4, 10};
       }},
      {"negative or too large dimension",
       [&](Weight& w) {
         w.shape = {INT64_MAX, 40};
       }},
      {"bytes of the mask: found 2, expected 15",
       [&](Weight& w) {
         w.mask = Mask{{1, 2}, 0, 0};
       }},
      {"keeps 8 of columns 0 to 3",
       [&](Weight& w) {
         w.mask = Mask{std::vector<uint8_t>(15, 255), 8, 4};
       }},
      {"a mask of 2:3 on rows of 40",
       [&](Weight& w) {
         w.mask = Mask{std::vector<uint8_t>(15, 255), 2, 3};
       }},
      {"row 0 keeps 4 of columns 0 to 3; its mask says 2:4",
       [&](Weight& w) {
         w.mask = Mask{std::vector<uint8_t>(15, 255), 2, 4};
       }},
  };
  for (const Case& c : cases) {
    Weight weight = random_ints(good);
    c.damage(weight);
    if (weight.mask && weight.mask->n == 8) continue;  // n > m has the message of the pattern itself
    try {
      check_weight(weight, "model.layers.3.mlp.up_proj.weight");
      ADD_FAILURE() << "accepted: " << c.message;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(c.message));
      EXPECT_THAT(error.what(), HasSubstr("model.layers.3.mlp.up_proj.weight: "));
    }
  }
}

TEST(Weight, BlocksWithAnInfiniteScaleAreNamed) {
  std::vector<std::byte> bytes(2 * 4 * 18);
  bytes[5 * 18 + 1] = std::byte{0x7c};
  const Weight weight{{2, 128}, GgufBlocks{ggml_type_named("Q4_0"), Bytes(std::move(bytes))}, {}};
  try {
    check_weight(weight, "w");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "w: the scale of row 1, block 1 is not finite");
  }
}

}  // namespace
}  // namespace pare
