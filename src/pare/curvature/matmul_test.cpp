#include "pare/curvature/matmul.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "pare/base/random.h"

namespace pare {
namespace {

std::vector<float> random_values(int64_t count, uint64_t seed) {
  const CounterRandom random(seed, "matmul test");
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(random.uniform(i) - 0.5);
  return values;
}

std::vector<simd::Level> levels() {
  std::vector<simd::Level> all = {simd::Level::baseline};
  if (simd::best_level() >= simd::Level::avx2) all.push_back(simd::Level::avx2);
  if (simd::best_level() >= simd::Level::avx512) all.push_back(simd::Level::avx512);
  return all;
}

struct Shape {
  int64_t m, n, k;
};
const Shape kShapes[] = {{1, 1, 1}, {12, 32, 5}, {13, 33, 300}, {3, 100, 257}, {500, 7, 64}, {29, 1030, 19}};

TEST(Matmul, IsOneChainOfFusedSumsPerElement) {
  for (const Shape& s : kShapes) {
    SCOPED_TRACE(std::to_string(s.m) + " x " + std::to_string(s.n) + " x " + std::to_string(s.k));
    const auto a = random_values(s.m * s.k, 1), b = random_values(s.k * s.n, 2), c0 = random_values(s.m * s.n, 3);
    std::vector<float> expected = c0;
    for (int64_t i = 0; i < s.m; ++i) {
      for (int64_t j = 0; j < s.n; ++j) {
        for (int64_t p = 0; p < s.k; ++p) {
          expected[i * s.n + j] = std::fma(-a[i * s.k + p], b[p * s.n + j], expected[i * s.n + j]);
        }
      }
    }
    for (const simd::Level level : levels()) {
      std::vector<float> c = c0;
      add_product<float>(c.data(), s.n, s.m, s.n, s.k, row_major(a.data(), s.k), row_major(b.data(), s.n), -1.0f,
                         Summation::chain, level);
      for (size_t i = 0; i < c.size(); ++i) {
        if (level == simd::Level::baseline) {
          ASSERT_NEAR(c[i], expected[i], 1e-5);
        } else {
          ASSERT_EQ(c[i], expected[i]) << "element " << i << ", level " << static_cast<int>(level);
        }
      }
    }
  }
}

TEST(Matmul, TakesTransposedOperandsAndDoubles) {
  for (const Shape& s : kShapes) {
    const auto a32 = random_values(s.m * s.k, 4), b32 = random_values(s.k * s.n, 5);
    const std::vector<double> a(a32.begin(), a32.end()), b(b32.begin(), b32.end());
    for (const simd::Level level : levels()) {
      std::vector<double> c(static_cast<size_t>(s.m * s.n), 1.0);
      add_product<double>(c.data(), s.n, s.m, s.n, s.k, transposed(a.data(), s.m), transposed(b.data(), s.k), 1.0,
                          Summation::blocks, level);
      for (int64_t i = 0; i < s.m; ++i) {
        for (int64_t j = 0; j < s.n; ++j) {
          double sum = 1;
          for (int64_t p = 0; p < s.k; ++p) sum += a[p * s.m + i] * b[j * s.k + p];
          ASSERT_NEAR(c[i * s.n + j], sum, 1e-12);
        }
      }
    }
  }
}

TEST(Matmul, CutsAlongKGiveTheSameBytes) {
  const auto a = random_values(40 * 700, 6), b = random_values(700 * 90, 7);
  std::vector<float> whole(40 * 90, 0.25f), pieces = whole;
  add_product<float>(whole.data(), 90, 40, 90, 700, row_major(a.data(), 700), row_major(b.data(), 90), 1.0f,
                     Summation::chain);
  for (int64_t p = 0; p < 700; p += 37) {
    add_product<float>(pieces.data(), 90, 40, 90, std::min<int64_t>(37, 700 - p), row_major(a.data() + p, 700),
                       row_major(b.data() + p * 90, 90), 1.0f, Summation::chain);
  }
  EXPECT_EQ(whole, pieces);
}

}  // namespace
}  // namespace pare
