#include "pare/prune/select.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "pare/base/random.h"

namespace pare {
namespace {

std::vector<float> scores_of(int64_t count, uint64_t seed, bool many_ties) {
  const CounterRandom random(seed, "select_test");
  std::vector<float> scores(static_cast<size_t>(count));
  for (size_t i = 0; i < scores.size(); ++i) {
    const uint64_t bits = random.bits(i);
    scores[i] = many_ties ? static_cast<float>(bits % 5)
                          : std::ldexp(static_cast<float>(bits >> 44), -static_cast<int>(bits % 160));
    if (bits % 97 == 0) scores[i] = 0;
    if (bits % 1009 == 0) scores[i] = std::numeric_limits<float>::infinity();
  }
  return scores;
}

// Sorts everything by (score, position).
std::vector<uint8_t> by_sorting(const std::vector<float>& scores, int64_t rows, int64_t columns, int64_t stride,
                                int64_t count) {
  std::vector<int64_t> order;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) order.push_back(r * stride + c);
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return scores[a] < scores[b]; });
  std::vector<uint8_t> keep(scores.size(), 7);  // 7: outside the rectangle
  for (size_t i = 0; i < order.size(); ++i) keep[order[i]] = static_cast<int64_t>(i) >= count;
  return keep;
}

TEST(Select, DropsExactlyTheSmallestByScoreThenPosition) {
  for (const bool ties : {false, true}) {
    for (const auto& [rows, columns, stride] : {std::tuple{1, 1, 1}, {1, 129, 129}, {33, 7, 11}, {700, 1000, 1000}}) {
      const std::vector<float> scores = scores_of(int64_t{rows} * stride, 3 + ties, ties);
      const int64_t all = int64_t{rows} * columns;
      for (const int64_t count : {int64_t{0}, int64_t{1}, all / 3, all / 2, all - 1, all}) {
        std::vector<uint8_t> keep(scores.size(), 7);
        drop_smallest({scores.data(), rows, columns, stride, keep.data(), stride}, count);
        ASSERT_EQ(keep, by_sorting(scores, rows, columns, stride, count))
            << rows << " x " << columns << ", " << count << " go, ties " << ties;
      }
    }
  }
}

TEST(Select, EachRowLosesItsOwnSmallest) {
  const std::vector<float> scores = scores_of(13 * 50, 5, true);
  std::vector<uint8_t> keep(scores.size(), 7), expected(scores.size(), 7);
  drop_smallest_of_each_row({scores.data(), 13, 41, 50, keep.data(), 50}, 20);
  for (int64_t r = 0; r < 13; ++r) {
    drop_smallest({scores.data() + r * 50, 1, 41, 50, expected.data() + r * 50, 50}, 20);
  }
  EXPECT_EQ(keep, expected);
}

TEST(Select, GroupsKeepTheirLargestAndTheLaterOfEquals) {
  const std::vector<float> scores{1, 3, 2, 4, /**/ 5, 5, 5, 5, /**/ 0, 0, 0, 1, /**/ 9, 1, 9, 1};
  std::vector<uint8_t> keep(16);
  keep_largest_of_each_group({scores.data(), 2, 8, 8, keep.data(), 8}, 2, 4);
  EXPECT_EQ(keep, (std::vector<uint8_t>{0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0}));
}

TEST(Select, EveryGroupKeepsExactlyN) {
  for (const auto& [n, m] : {std::pair{1, 2}, {2, 4}, {4, 8}, {3, 5}, {1, 16}, {16, 16}}) {
    const int64_t rows = 37, columns = 6 * m;
    const std::vector<float> scores = scores_of(rows * columns, 11, true);
    std::vector<uint8_t> keep(scores.size());
    keep_largest_of_each_group({scores.data(), rows, columns, columns, keep.data(), columns}, n, m);
    for (size_t g = 0; g < keep.size(); g += m) {
      ASSERT_EQ(std::accumulate(keep.begin() + g, keep.begin() + g + m, 0), n) << n << ":" << m << " at " << g;
    }
  }
}

}  // namespace
}  // namespace pare
