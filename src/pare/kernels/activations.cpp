#include <algorithm>

#include "pare/kernels/functions.h"
#include "pare/kernels/matrix.h"

namespace pare {

Activations::Activations(int64_t cols, Precision precision)
    : cols_(cols), blocks_((cols + kBlock - 1) / kBlock), precision_(precision) {}

void Activations::assign(const float* x, int64_t tokens, int64_t stride, ThreadPool& pool) {
  const int64_t padded = blocks_ * kBlock;
  tokens_ = tokens;
  const auto grow = [](auto& values, int64_t size) {
    if (static_cast<int64_t>(values.size()) < size) values.resize(static_cast<size_t>(size));
  };
  grow(values_, tokens * padded);
  if (precision_ == Precision::int8) {
    grow(codes_, tokens * padded);
    grow(facts_, tokens * blocks_);
  }
  const cpu::FunctionTable& functions = functions_of(current_isa());
  const auto one = [&](int64_t token, int64_t tile, int64_t width) {
    float* row = values_.data() + token * padded;
    std::copy_n(x + token * stride, cols_, row);
    std::fill(row + cols_, row + padded, 0.0f);
    if (precision_ == Precision::int8) {
      const int64_t first_block = tile * blocks_ + (token - tile);
      functions.quantize(row, blocks_, codes_.data() + first_block * kBlock, facts_.data() + first_block, width);
    }
  };
  if (tokens == 1) return one(0, 0, 1);  // less work than it takes to tell the others
  // Tiles of 8, then at most one each of 4, 2 and 1.
  pool.for_each(tokens / cpu::kTile, [&](int64_t i) {
    for (int64_t t = 0; t < cpu::kTile; ++t) one(i * cpu::kTile + t, i * cpu::kTile, cpu::kTile);
  });
  for (int64_t tile = tokens / cpu::kTile * cpu::kTile; tile < tokens;) {
    const int64_t width = cpu::tile_width(tokens, tile);
    for (int64_t t = 0; t < width; ++t) one(tile + t, tile, width);
    tile += width;
  }
}

cpu::Rows Activations::rows() const {
  cpu::Rows rows;
  rows.tokens = tokens_;
  rows.blocks = blocks_;
  rows.values = values_.data();
  if (precision_ == Precision::int8) {
    rows.codes = codes_.data();
    rows.facts = facts_.data();
  }
  return rows;
}

}  // namespace pare
