#include "pare/quantize/strips.h"

#include <algorithm>

#include "pare/curvature/matmul.h"
#include "pare/quantize/grid_lanes.h"

namespace pare {

std::vector<Strip> cut_rows(int64_t rows) {
  // 256 rows make the products efficient; fewer where that would leave threads without work
  const int64_t eighth = (rows / 8 + kLanes - 1) / kLanes * kLanes;
  const int64_t height = std::clamp<int64_t>(eighth, 2 * kLanes, 256);
  std::vector<Strip> strips;
  for (int64_t first = 0; first < rows; first += height) {
    const int64_t count = std::min(height, rows - first);
    strips.push_back({first, count, (count + kLanes - 1) / kLanes * kLanes});
  }
  return strips;
}

void load_strip(const float* src, int64_t columns, const Strip& strip, float* values) {
  constexpr int64_t kColumns = 64;  // columns at a time: both sides of the transposition stay in the L1 cache
  for (int64_t begin = 0; begin < columns; begin += kColumns) {
    const int64_t end = std::min(begin + kColumns, columns);
    for (int64_t r = 0; r < strip.count; ++r) {
      const float* row = src + (strip.first + r) * columns;
      for (int64_t c = begin; c < end; ++c) values[c * strip.width + r] = row[c];
    }
    for (int64_t c = begin; c < end; ++c) {
      std::fill(values + c * strip.width + strip.count, values + (c + 1) * strip.width, 0.0f);
    }
  }
}

void store_strip(const float* values, int64_t columns, const Strip& strip, float* dst) {
  constexpr int64_t kColumns = 64;
  for (int64_t begin = 0; begin < columns; begin += kColumns) {
    const int64_t end = std::min(begin + kColumns, columns);
    for (int64_t r = 0; r < strip.count; ++r) {
      float* row = dst + (strip.first + r) * columns;
      for (int64_t c = begin; c < end; ++c) row[c] = values[c * strip.width + r];
    }
  }
}

void quadratic_form(const float* strip_values, const Strip& strip, const float* h, int64_t columns, double* loss) {
  constexpr int64_t kBlock = 256;
  const int64_t width = strip.width;
  std::fill(loss, loss + width, 0.0);
  std::vector<float> product(static_cast<size_t>(std::min(kBlock, columns) * width));
  for (int64_t begin = 0; begin < columns; begin += kBlock) {
    const int64_t count = std::min(kBlock, columns - begin);
    const float* d = strip_values + begin * width;
    // 2 d_I (H_IJ d_J, all J left of I) + d_I H_II d_I
    for (const bool diagonal : {false, true}) {
      std::fill(product.begin(), product.end(), 0.0f);
      const int64_t left = diagonal ? begin : 0;
      add_product<float>(product.data(), width, count, width, diagonal ? count : begin,
                         row_major(h + begin * columns + left, columns), row_major(strip_values + left * width, width),
                         1.0f, Summation::blocks);
      const double factor = diagonal ? 1.0 : 2.0;
      for (int64_t c = 0; c < count; ++c) {
        for (int64_t r = 0; r < width; ++r) {
          loss[r] += factor * static_cast<double>(d[c * width + r]) * static_cast<double>(product[c * width + r]);
        }
      }
    }
  }
}

}  // namespace pare
