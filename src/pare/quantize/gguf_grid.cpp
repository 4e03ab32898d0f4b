#include "pare/quantize/gguf_grid.h"

#include <algorithm>
#include <vector>

#include "pare/base/error.h"
#include "pare/curvature/parallel_tasks.h"
#include "pare/weights/encode/scalar_fit.h"

namespace pare {
namespace {

constexpr int64_t kTile = kLanes;  // rows

// Sixteen rows of some columns, column by column; rows past the last repeat it.
void load_tile(const float* weight, int64_t rows, int64_t columns, int64_t row, int64_t column, int64_t count,
               float* tile) {
  for (int64_t r = 0; r < kTile; ++r) {
    const float* src = weight + std::min(row + r, rows - 1) * columns + column;
    for (int64_t c = 0; c < count; ++c) tile[c * kTile + r] = src[c];
  }
}

PARE_INLINE void round_sub(const ScalarType& type, float* values, int64_t count, const Lanes& scale,
                           const Lanes& offset) {
  const Lanes inverse = scale != 0 ? 1.0f / scale : Lanes{};
  for (int64_t c = 0; c < count; ++c) {
    float* place = values + c * kTile;
    store_lanes(place, scale * nearest_level(type, (load_lanes(place) - offset) * inverse) + offset);
  }
}

int64_t tiles_of(int64_t rows) {
  return (rows + kTile - 1) / kTile;
}

}  // namespace

GgufGrid fit_gguf_grid(const at::Tensor& weight, const at::Tensor& importance, const GgmlType& ggml,
                       FitWeights weights) {
  const ScalarType* type = scalar_type(ggml);
  PARE_ASSERT(type != nullptr && weight.size(1) % type->block == 0);
  const at::Tensor w = weight.contiguous();
  const int64_t rows = w.size(0), columns = w.size(1), padded = tiles_of(rows) * kTile;
  GgufGrid grid{.ggml = &ggml, .type = type, .rows = rows, .columns = columns, .d = {}, .dmin = {}, .sc = {}, .mn = {}};
  grid.d = at::empty({grid.blocks(), padded}, at::kFloat);
  grid.dmin = at::empty_like(grid.d);
  grid.sc = at::empty({grid.subs(), padded}, at::kFloat);
  grid.mn = at::empty_like(grid.sc);
  const at::Tensor h = importance.defined() ? importance.to(at::kFloat).contiguous() : at::ones({columns}, at::kFloat);
  parallel_tasks(tiles_of(rows), [&](int64_t tile) {
    const int64_t row = tile * kTile, block = type->block;
    std::vector<float> values(static_cast<size_t>(block * kTile)), by(values.size());
    for (int64_t b = 0; b < grid.blocks(); ++b) {
      load_tile(w.const_data_ptr<float>(), rows, columns, row, b * block, block, values.data());
      const float* importances = h.const_data_ptr<float>() + b * block;
      if (weights == FitWeights::importance_and_size) {
        rounding_weights(*type, values.data(), importances, by.data());
      } else {
        for (int64_t c = 0; c < block; ++c) std::fill_n(by.data() + c * kTile, kTile, importances[c]);
      }
      const TileScales scales = fit_scales(*type, values.data(), by.data());
      store_lanes(grid.d.data_ptr<float>() + b * padded + row, scales.d);
      store_lanes(grid.dmin.data_ptr<float>() + b * padded + row, scales.dmin);
      for (int k = 0; k < type->subs(); ++k) {
        const int64_t at = (b * type->subs() + k) * padded + row;
        store_lanes(grid.sc.data_ptr<float>() + at, scales.sc[k]);
        store_lanes(grid.mn.data_ptr<float>() + at, scales.mn[k]);
      }
    }
  });
  return grid;
}

at::Tensor round_to(const GgufGrid& grid, const at::Tensor& weight) {
  const at::Tensor w = weight.contiguous();
  at::Tensor rounded = at::empty_like(w);
  const ScalarType& type = *grid.type;
  parallel_tasks(tiles_of(grid.rows), [&](int64_t tile) {
    const int64_t row = tile * kTile, padded = grid.padded();
    std::vector<float> values(static_cast<size_t>(type.sub * kTile));
    for (int64_t k = 0; k < grid.subs(); ++k) {
      load_tile(w.const_data_ptr<float>(), grid.rows, grid.columns, row, k * type.sub, type.sub, values.data());
      const int64_t block = k / type.subs();
      const Lanes scale = load_lanes(grid.d.const_data_ptr<float>() + block * padded + row) *
                          load_lanes(grid.sc.const_data_ptr<float>() + k * padded + row);
      const Lanes offset = -(load_lanes(grid.dmin.const_data_ptr<float>() + block * padded + row) *
                             load_lanes(grid.mn.const_data_ptr<float>() + k * padded + row));
      simd::run_at(simd::best_level(), [&type, to = values.data(), &scale, &offset](auto)
                                           PARE_ALWAYS_INLINE { round_sub(type, to, type.sub, scale, offset); });
      for (int64_t r = 0; r < std::min(kTile, grid.rows - row); ++r) {
        float* dst = rounded.data_ptr<float>() + (row + r) * grid.columns + k * type.sub;
        for (int64_t c = 0; c < type.sub; ++c) dst[c] = values[static_cast<size_t>(c * kTile + r)];
      }
    }
  });
  return rounded;
}

void take_rows(GgufGrid& into, const GgufGrid& from, const at::Tensor& mask) {
  at::Tensor rows = at::zeros({into.padded()}, at::kBool);
  rows.narrow(0, 0, into.rows).copy_(mask);
  into.d = at::where(rows, from.d, into.d);
  into.dmin = at::where(rows, from.dmin, into.dmin);
  into.sc = at::where(rows, from.sc, into.sc);
  into.mn = at::where(rows, from.mn, into.mn);
}

Weight to_blocks(const GgufGrid& grid, const at::Tensor& values) {
  const ScalarType& type = *grid.type;
  const at::Tensor v = values.contiguous();
  const int64_t row_bytes = grid.blocks() * grid.ggml->block_bytes, padded = grid.padded();
  std::vector<std::byte> bytes(static_cast<size_t>(grid.rows * row_bytes));
  parallel_tasks(grid.rows, [&](int64_t r) {
    std::vector<uint8_t> codes(static_cast<size_t>(type.block));
    const auto at = [&](const at::Tensor& t, int64_t i) { return t.const_data_ptr<float>()[i * padded + r]; };
    for (int64_t b = 0; b < grid.blocks(); ++b) {
      BlockScales scales{.d = at(grid.d, b), .dmin = at(grid.dmin, b), .sc = {}, .mn = {}};
      const float* src = v.const_data_ptr<float>() + r * grid.columns + b * type.block;
      for (int k = 0; k < type.subs(); ++k) {
        const float sc = at(grid.sc, b * type.subs() + k), mn = at(grid.mn, b * type.subs() + k);
        scales.sc[k] = static_cast<int8_t>(sc);
        scales.mn[k] = static_cast<uint8_t>(mn);
        const Lanes scale = all_lanes(scales.d * sc), offset = all_lanes(-(scales.dmin * mn));
        const Lanes inverse = scale != 0 ? 1.0f / scale : Lanes{};
        for (int j = k * type.sub; j < (k + 1) * type.sub; j += kLanes) {
          const Lanes place = nearest_place(type, (load_lanes(src + j) - offset) * inverse);
          for (int i = 0; i < kLanes; ++i) codes[static_cast<size_t>(j + i)] = static_cast<uint8_t>(place[i]);
        }
      }
      type.pack(scales, codes.data(),
                reinterpret_cast<uint8_t*>(bytes.data()) + r * row_bytes + b * grid.ggml->block_bytes);
    }
  });
  return {.shape = {grid.rows, grid.columns}, .base = GgufBlocks{grid.ggml, Bytes(std::move(bytes))}, .mask = {}};
}

}  // namespace pare
