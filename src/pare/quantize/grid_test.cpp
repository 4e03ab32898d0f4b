#include "pare/quantize/grid.h"

#include <gtest/gtest.h>

#include <cstring>

#include "pare/base/float_types.h"
#include "pare/quantize/grid_fit.h"
#include "pare/quantize/test_problems.h"

namespace pare {
namespace {

double mean_square_error(const at::Tensor& w, const GridOptions& options) {
  const Grid grid = fit_grid(w, {}, options);
  return (w - decode(encode(w, grid), grid)).to(at::kDouble).square().mean().item<double>();
}

// The definition, one weight after the other.
double naive_value(double w, double scale, double zero, double maxq) {
  const double code = std::min(std::max(std::nearbyint(w / scale) + zero, 0.0), maxq);
  return scale * (code - zero);
}

TEST(Grid, GaussianErrorsAreTheKnownOnes) {
  struct Case {
    GridOptions options;
    double expected;
  };
  const Case cases[] = {
      {{.bits = 8, .search = false}, 4.2e-5},
      {{.bits = 4, .search = false}, .01222},
      {{.bits = 4, .symmetric = false, .search = false}, .01009},
      {{.bits = 4, .symmetric = false}, .00904},
      {{.bits = 3, .symmetric = false, .search = false}, .0464},
      {{.bits = 3, .symmetric = false}, .0350},
      {{.bits = 2, .symmetric = false, .search = false}, .252},
      {{.bits = 2, .symmetric = false}, .137},
      {{.bits = 2, .ternary = true, .group = -1}, .190},
  };
  const at::Tensor w = random_normal(256, 1024, 1);
  for (const Case& c : cases) {
    const double error = mean_square_error(w, c.options);
    EXPECT_LT(error, 1.03 * c.expected) << c.options.bits << " bits, search " << c.options.search;
    // min/max is one formula; a search may only be better than the published one
    if (!c.options.search) {
      EXPECT_GT(error, 0.97 * c.expected) << c.options.bits << " bits";
    }
  }
}

TEST(Grid, EveryCodeIsAFixedPoint) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (const bool symmetric : {true, false}) {
      const GridOptions options{.bits = bits, .group = 50, .symmetric = symmetric};
      const int64_t in = (1 << bits) + 7;
      const Grid grid = fit_grid(random_normal(21, in, 2), {}, options);
      const at::Tensor codes = at::arange(in).remainder(1 << bits).to(at::kByte).expand({21, in}).contiguous();
      EXPECT_TRUE(at::equal(encode(decode(codes, grid), grid), codes)) << bits << " bits, symmetric " << symmetric;
    }
  }
}

TEST(Grid, RoundsEachWeightToTheNearestPoint) {
  const at::Tensor w = random_normal(19, 130, 3);
  for (const bool symmetric : {true, false}) {
    const Grid grid = fit_grid(w, {}, {.bits = 3, .group = 64, .symmetric = symmetric});
    ASSERT_EQ(grid.scale.size(1), 3);  // 64 + 64 + 2
    const at::Tensor values = decode(encode(w, grid), grid);
    for (int64_t r = 0; r < 19; ++r) {
      for (int64_t c = 0; c < 130; ++c) {
        const double expected = naive_value(w[r][c].item<double>(), grid.scale[r][c / 64].item<double>(),
                                            grid.zero[r][c / 64].item<double>(), 7);
        ASSERT_FLOAT_EQ(values[r][c].item<float>(), static_cast<float>(expected));
      }
    }
  }
}

TEST(Grid, ZeroStaysZero) {
  at::Tensor w = random_normal(8, 128, 4);
  w[0].abs_();         // only positive
  w[1].abs_().neg_();  // only negative
  w[2].zero_();        // nothing
  w[3].fill_(0.25);    // constant
  w.select(1, 5).zero_();
  for (const GridOptions& options :
       {GridOptions{.bits = 2, .symmetric = false}, GridOptions{.bits = 4},
        GridOptions{.bits = 3, .symmetric = false, .search = false}, GridOptions{.bits = 2, .ternary = true}}) {
    const Grid grid = fit_grid(w, {}, options);
    const at::Tensor values = decode(encode(w, grid), grid);
    EXPECT_TRUE(values.select(1, 5).eq(0).all().item<bool>());
    EXPECT_TRUE(values[2].eq(0).all().item<bool>());
    EXPECT_TRUE(at::isfinite(values).all().item<bool>());
    EXPECT_TRUE(grid.scale.gt(0).all().item<bool>());
    EXPECT_TRUE(grid.zero.ge(0).logical_and(grid.zero.le(grid.maxq)).all().item<bool>());
    EXPECT_LT((values[3] - w[3]).abs().max().item<double>(), 0.13);
  }
}

TEST(Grid, ScalesAreStorable) {
  const at::Tensor w = random_normal(64, 256, 5) * at::logspace(-7, 4, 64).unsqueeze(1);
  for (const Dtype dtype : {Dtype::f16, Dtype::bf16}) {
    for (const int scale_bits : {0, 7}) {
      const Grid grid = fit_grid(w, {}, {.bits = 4, .group = 32, .scale_dtype = dtype, .scale_bits = scale_bits});
      for (int64_t i = 0; i < grid.scale.numel(); ++i) {
        const float scale = grid.scale.data_ptr<float>()[i];
        ASSERT_GT(scale, 0);
        ASSERT_EQ(scale, dtype == Dtype::f16 ? f16_to_float(float_to_f16(scale)) : bf16_to_float(float_to_bf16(scale)));
        uint32_t bits;
        std::memcpy(&bits, &scale, 4);
        if (scale_bits == 7) {
          ASSERT_EQ(bits & 0x1ffff, 0u) << scale;
        }
      }
    }
  }
}

TEST(Grid, SevenBitScalesMakeTheOffsetExactInF16) {
  const Grid grid =
      fit_grid(random_normal(32, 256, 6), {}, {.bits = 4, .group = 32, .symmetric = false, .scale_bits = 7});
  const at::Tensor offset = (grid.scale * grid.zero).contiguous();
  for (int64_t i = 0; i < offset.numel(); ++i) {
    const float value = offset.data_ptr<float>()[i];
    ASSERT_EQ(value, f16_to_float(float_to_f16(value)));
  }
}

TEST(Grid, SearchNeverHasMoreWeightedErrorThanMinMax) {
  const at::Tensor w = random_normal(40, 192, 7);
  const at::Tensor importance = random_normal(1, 192, 8).abs().view({192});
  for (const int bits : {2, 3, 4}) {
    for (const bool symmetric : {true, false}) {
      GridOptions options{.bits = bits, .group = 64, .symmetric = symmetric};
      const auto errors = [&] {
        const Grid grid = fit_grid(w, importance, options);
        return ((w - decode(encode(w, grid), grid)).square() * importance).view({40, 3, 64}).sum(2);
      };
      const at::Tensor searched = errors();
      options.search = false;
      EXPECT_TRUE(searched.le(errors() * 1.00001).all().item<bool>()) << bits << " bits, symmetric " << symmetric;
    }
  }
}

TEST(Grid, AWholeRowIsAGroupOfItsLength) {
  const at::Tensor w = random_normal(5, 100, 9);
  const Grid row = fit_grid(w, {}, {.group = -1});
  EXPECT_EQ(row.group, 100);
  EXPECT_TRUE(at::equal(row.scale, fit_grid(w, {}, {.group = 100}).scale));
}

TEST(Grid, SameBytesOnEveryVectorWidth) {
  const at::Tensor w = random_normal(70, 32, 10);  // as a strip: 70 columns of 32 rows
  const at::Tensor importance = random_normal(1, 70, 11).abs();
  for (const GridOptions& options : {GridOptions{.bits = 3, .symmetric = false}, GridOptions{.bits = 4}}) {
    std::vector<float> scales[3], zeros[3];
    for (int level = 0; level <= static_cast<int>(simd::best_level()); ++level) {
      scales[level].resize(32);
      zeros[level].resize(32);
      fit_group(GridShape(options), w.data_ptr<float>(), 32, 70, importance.data_ptr<float>(), scales[level].data(),
                zeros[level].data(), static_cast<simd::Level>(level));
    }
    if (simd::best_level() == simd::Level::avx512) {
      EXPECT_EQ(scales[1], scales[2]);
      EXPECT_EQ(zeros[1], zeros[2]);
    }
  }
}

TEST(Grid, WhatIsPackedIsWhatWasDecoded) {
  const at::Tensor w = random_normal(13, 150, 12);
  for (const GridOptions& options :
       {GridOptions{.bits = 3, .group = 64, .symmetric = false}, GridOptions{.bits = 4, .group = 32},
        GridOptions{.bits = 8, .group = -1, .scale_dtype = Dtype::bf16}, GridOptions{.bits = 2, .ternary = true}}) {
    const Grid grid = fit_grid(w, {}, options);
    const at::Tensor codes = encode(w, grid);
    const Weight weight = to_grouped_ints(codes, grid, options);
    check_weight(weight, "test");
    EXPECT_TRUE(at::equal(unpacked(weight), decode(codes, grid)));
  }
}

}  // namespace
}  // namespace pare
