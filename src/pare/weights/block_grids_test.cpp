#include "pare/weights/block_grids.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "pare/base/error.h"
#include "pare/weights/encode/encode_rows.h"
#include "pare/weights/regrid.h"
#include "pare/weights/weights_for_tests.h"

namespace pare {
namespace {

// Scales that are powers of two, so that scale * zero is exact.
Weight friendly(Weight weight) {
  for (float& scale : std::get<GroupedInts>(weight.base).scales) scale = std::exp2(std::round(std::log2(scale)));
  return weight;
}

TEST(BlockGrids, HoldGridsOfEveryWidthInTheSmallestType) {
  struct Case {
    RandomInts wish;
    const char* type;
  };
  for (const Case& c :
       {Case{{.cols = 96, .bits = 4, .group = 32}, "Q4_0"}, Case{{.cols = 192, .bits = 4, .group = 64}, "Q4_0"},
        Case{{.cols = 96, .bits = 4, .group = 96}, "Q4_0"}, Case{{.cols = 96, .bits = 3, .group = 32}, "Q4_0"},
        Case{{.cols = 96, .bits = 2, .group = 32}, "Q4_0"},
        Case{{.cols = 96, .bits = 4, .group = 32, .symmetric = false}, "Q4_1"},
        Case{{.cols = 96, .bits = 5, .group = 32}, "Q5_0"},
        Case{{.cols = 96, .bits = 5, .group = 32, .symmetric = false}, "Q5_1"},
        Case{{.cols = 96, .bits = 8, .group = 96, .scale_dtype = Dtype::bf16}, "Q8_0"},
        Case{{.cols = 96, .bits = 6, .group = 32}, "Q8_0"},
        Case{{.cols = 512, .bits = 2, .group = 256, .ternary = true}, "TQ2_0"},
        Case{{.cols = 96, .bits = 2, .group = 32, .ternary = true}, "Q4_0"},
        Case{{.cols = 96, .bits = 4, .group = 32, .masked = true}, "Q4_0"}}) {
    SCOPED_TRACE(std::to_string(c.wish.bits) + " bits, groups of " + std::to_string(c.wish.group));
    const Weight ints = friendly(random_ints(c.wish));
    const GgmlType* type = exact_block_type(ints);
    ASSERT_NE(type, nullptr);
    EXPECT_EQ(type->name, c.type);
    const Weight blocks = *exact_blocks(ints, *type);
    check_weight(blocks, "w");
    EXPECT_EQ(blocks.unpack(), ints.unpack());
    if (!is_plain_grid(form_of(blocks))) continue;
    const Weight back = grid_of(blocks);
    check_weight(back, "w");
    EXPECT_EQ(back.unpack(), ints.unpack());
    EXPECT_EQ(back.describe(), grid_form(form_of(blocks)).describe());
  }
}

TEST(BlockGrids, RefuseWhatTheyWouldChange) {
  const GgmlType& q4_0 = *ggml_type_named("Q4_0");
  Weight weight = random_ints({.cols = 96, .bits = 4, .group = 32});
  ASSERT_TRUE(exact_blocks(weight, q4_0));
  std::get<GroupedInts>(weight.base).scales[3] = 0.1f;  // f32
  EXPECT_FALSE(exact_blocks(weight, q4_0)) << "a scale that f16 rounds";
  EXPECT_FALSE(exact_blocks(random_ints({.cols = 96, .bits = 4, .group = 48}), q4_0)) << "two groups in a block";
  EXPECT_FALSE(exact_blocks(random_ints({.cols = 96, .bits = 4, .shuffled_groups = true, .seed = 2}), q4_0) &&
               exact_blocks(random_ints({.cols = 80, .bits = 4, .shuffled_groups = true}), q4_0))
      << "a permutation";
  EXPECT_FALSE(exact_blocks(random_ints({.cols = 80, .bits = 4}), q4_0)) << "half a block";
  EXPECT_FALSE(exact_blocks(random_ints({.cols = 96, .bits = 5}), q4_0)) << "codes that do not fit";
  EXPECT_FALSE(exact_blocks(random_ints({.cols = 96, .bits = 4, .symmetric = false}), *ggml_type_named("Q4_1")))
      << "minima that f16 rounds";
  EXPECT_FALSE(exact_blocks(random_ints({.cols = 256, .bits = 4}), *ggml_type_named("Q4_K")));
  EXPECT_EQ(exact_block_type(random_ints({.cols = 96, .bits = 8, .symmetric = false})), nullptr);
}

TEST(BlockGrids, EveryBlockOfAPlainTypeIsAGrid) {
  std::vector<float> values(3 * 512);
  const CounterRandom random(4, "values");
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random.uniform(i)) - 0.5f;
  for (const char* name : {"Q4_0", "Q5_0", "Q8_0", "TQ1_0", "TQ2_0", "IQ4_NL", "MXFP4"}) {
    SCOPED_TRACE(name);
    const GgmlType& type = *ggml_type_named(name);
    std::vector<std::byte> data(values.size() / static_cast<size_t>(type.block_elements) *
                                static_cast<size_t>(type.block_bytes));
    encode_rows(type, values, 512, {}, data);
    const Weight blocks{{3, 512}, GgufBlocks{&type, Bytes(data)}, {}};
    const Weight grid = grid_of(blocks);
    check_weight(grid, "w");
    EXPECT_EQ(grid.unpack(), blocks.unpack());
    EXPECT_EQ(grid.describe(), grid_form(form_of(blocks)).describe());
    EXPECT_EQ(form_of(grid).scale_dtype, grid_form(form_of(blocks)).scale_dtype);
    if (type.name == "IQ4_NL" || type.name == "MXFP4") {  // of grids, few are these
      EXPECT_FALSE(exact_blocks(grid, type));
      EXPECT_EQ(exact_blocks(grid, *exact_block_type(grid))->unpack(), blocks.unpack());
      continue;
    }
    const Weight back = *exact_blocks(grid, type);
    EXPECT_TRUE(std::ranges::equal(std::get<GgufBlocks>(back.base).data.span(), std::span(data)));
  }
}

TEST(Regrid, WiderCodesAndOtherScalesKeepTheValues) {
  for (const bool symmetric : {true, false}) {
    for (const int bits : {2, 3, 5, 8}) {
      const Weight ints = random_ints({.cols = 80, .bits = bits, .symmetric = symmetric, .scale_dtype = Dtype::bf16});
      const auto wide = widened_ints(ints, 8, Dtype::f16);
      ASSERT_TRUE(wide);
      check_weight(*wide, "w");
      EXPECT_EQ(wide->unpack(), ints.unpack());
      EXPECT_EQ(form_of(*wide).bits, 8);
    }
  }
  EXPECT_EQ(widened_ints(random_ints({.bits = 2, .ternary = true}), 4, Dtype::f16)->unpack(),
            random_ints({.bits = 2, .ternary = true}).unpack());
  EXPECT_FALSE(widened_ints(random_ints({.scale_dtype = Dtype::f32}), 8, Dtype::f16));
}

TEST(Regrid, RoundsEachNumberToTheNearestOfItsGroup) {
  std::vector<float> values(5 * 70);
  const CounterRandom random(9, "values");
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random.uniform(i)) - 0.5f;
  std::fill_n(values.begin(), 32, 0.0f);
  const Weight rounded = rounded_ints(dense_weight({5, 70}, Dtype::f32, values), 4, 32, Dtype::f16, "w");
  check_weight(rounded, "w");
  const auto found = rounded.unpack();
  for (size_t i = 0; i < values.size(); ++i) {
    const float scale = std::get<GroupedInts>(rounded.base).scales[i / 70 * 3 + i % 70 / 32];
    ASSERT_LE(std::fabs(found[i] - values[i]), scale * 0.502f) << i;  // the scale itself is rounded
  }
  values[40] = NAN;
  EXPECT_THROW(rounded_ints(dense_weight({5, 70}, Dtype::f32, values), 4, 32, Dtype::f16, "w"), InputError);
}

}  // namespace
}  // namespace pare
