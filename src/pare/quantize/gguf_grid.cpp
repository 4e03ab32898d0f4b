#include "pare/quantize/gguf_grid.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "pare/base/error.h"
#include "pare/curvature/parallel_tasks.h"
#include "pare/weights/encode/lattice_fit.h"
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

void round_groups(const LatticeCode& code, float* values, const float* by, const Lanes& scale, const float* shift) {
  alignas(64) float scales[kLanes], points[kLatticeGroup * kLanes];
  store_lanes(scales, scale);
  for (int c = 0; c < code.sub; c += kLatticeGroup) {
    nearest_points(code, values + c * kTile, by + c * kTile, scales, shift, points);
    for (int i = 0; i < kLatticeGroup; ++i) {
      store_lanes(values + (c + i) * kTile, scale * load_lanes(points + i * kLanes));
    }
  }
}

int64_t tiles_of(int64_t rows) {
  return (rows + kTile - 1) / kTile;
}

// What each number of sixteen rows counts, [block][16].
void fill_weights(FitWeights weights, const float* values, const float* importances, int64_t block, float* by) {
  if (weights == FitWeights::importance_and_size) {
    rounding_weights(static_cast<int>(block), values, importances, by);
  } else {
    for (int64_t c = 0; c < block; ++c) std::fill_n(by + c * kTile, kTile, importances[c]);
  }
}

at::Tensor importance_or_ones(const at::Tensor& importance, int64_t columns) {
  return importance.defined() ? importance.to(at::kFloat).contiguous() : at::ones({columns}, at::kFloat);
}

void store_scales(const TileScales& scales, GgufGrid& grid, int64_t b, int64_t row) {
  const int64_t padded = grid.padded();
  store_lanes(grid.d.data_ptr<float>() + b * padded + row, scales.d);
  store_lanes(grid.dmin.data_ptr<float>() + b * padded + row, scales.dmin);
  for (int64_t k = 0; k < grid.layout.subs(); ++k) {
    const int64_t at = (b * grid.layout.subs() + k) * padded + row;
    store_lanes(grid.sc.data_ptr<float>() + at, scales.sc[k]);
    store_lanes(grid.mn.data_ptr<float>() + at, scales.mn[k]);
  }
}
void store_scales(const LatticeTileScales& scales, GgufGrid& grid, int64_t b, int64_t row) {
  TileScales all;
  all.d = scales.d;
  all.dmin = Lanes{};
  std::copy_n(scales.sc, 16, all.sc);
  std::copy_n(scales.shift, 16, all.mn);
  store_scales(all, grid, b, row);
}

}  // namespace

std::optional<GgufLayout> gguf_layout(const GgmlType& ggml) {
  if (const ScalarType* scalar = scalar_type(ggml)) return GgufLayout{scalar, nullptr, scalar->block, scalar->sub, 1};
  if (const LatticeCode* lattice = lattice_code(ggml)) {
    return GgufLayout{nullptr, lattice, LatticeCode::block, lattice->sub, kLatticeGroup};
  }
  return std::nullopt;
}

GgufGrid fit_gguf_grid(const at::Tensor& weight, const at::Tensor& importance, const GgmlType& ggml,
                       FitWeights weights) {
  const std::optional<GgufLayout> layout = gguf_layout(ggml);
  PARE_ASSERT(layout.has_value() && weight.size(1) % layout->block == 0);
  const at::Tensor w = weight.contiguous();
  const int64_t rows = w.size(0), columns = w.size(1), padded = tiles_of(rows) * kTile, block = layout->block;
  GgufGrid grid{
      .ggml = &ggml, .layout = *layout, .rows = rows, .columns = columns, .d = {}, .dmin = {}, .sc = {}, .mn = {}};
  grid.d = at::empty({grid.blocks(), padded}, at::kFloat);
  grid.dmin = at::empty_like(grid.d);
  grid.sc = at::empty({grid.subs(), padded}, at::kFloat);
  grid.mn = at::empty_like(grid.sc);
  const at::Tensor h = importance_or_ones(importance, columns);
  parallel_tasks(tiles_of(rows), [&](int64_t tile) {
    const int64_t row = tile * kTile;
    std::vector<float> values(static_cast<size_t>(block * kTile)), by(values.size());
    for (int64_t b = 0; b < grid.blocks(); ++b) {
      load_tile(w.const_data_ptr<float>(), rows, columns, row, b * block, block, values.data());
      fill_weights(weights, values.data(), h.const_data_ptr<float>() + b * block, block, by.data());
      if (layout->scalar != nullptr) {
        store_scales(fit_scales(*layout->scalar, values.data(), by.data()), grid, b, row);
      } else {
        store_scales(fit_lattice(*layout->lattice, values.data(), by.data()), grid, b, row);
      }
    }
  });
  return grid;
}

at::Tensor round_to(const GgufGrid& grid, const at::Tensor& weight, const at::Tensor& importance, FitWeights weights) {
  const at::Tensor w = weight.contiguous(), h = importance_or_ones(importance, grid.columns);
  at::Tensor rounded = at::empty_like(w);
  const GgufLayout& layout = grid.layout;
  parallel_tasks(tiles_of(grid.rows), [&](int64_t tile) {
    const int64_t row = tile * kTile, padded = grid.padded();
    std::vector<float> values(static_cast<size_t>(layout.block * kTile)), by(values.size());
    for (int64_t b = 0; b < grid.blocks(); ++b) {
      load_tile(w.const_data_ptr<float>(), grid.rows, grid.columns, row, b * layout.block, layout.block, values.data());
      if (layout.lattice != nullptr) {
        fill_weights(weights, values.data(), h.const_data_ptr<float>() + b * layout.block, layout.block, by.data());
      }
      const Lanes d = load_lanes(grid.d.const_data_ptr<float>() + b * padded + row);
      const Lanes dmin = load_lanes(grid.dmin.const_data_ptr<float>() + b * padded + row);
      for (int64_t k = 0; k < layout.subs(); ++k) {
        const int64_t sub = (b * layout.subs() + k) * padded + row;
        const float* mn = grid.mn.const_data_ptr<float>() + sub;
        const Lanes scale = d * load_lanes(grid.sc.const_data_ptr<float>() + sub);
        float* to = values.data() + k * layout.sub * kTile;
        if (layout.scalar != nullptr) {
          const Lanes offset = -(dmin * load_lanes(mn));
          simd::run_at(simd::best_level(), [&type = *layout.scalar, to, &scale, &offset](auto)
                                               PARE_ALWAYS_INLINE { round_sub(type, to, type.sub, scale, offset); });
        } else {
          round_groups(*layout.lattice, to, by.data() + k * layout.sub * kTile, scale, mn);
        }
      }
      for (int64_t r = 0; r < std::min(kTile, grid.rows - row); ++r) {
        float* dst = rounded.data_ptr<float>() + (row + r) * grid.columns + b * layout.block;
        for (int64_t c = 0; c < layout.block; ++c) dst[c] = values[static_cast<size_t>(c * kTile + r)];
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

namespace {

// One block of one row: `at(tensor, i)` is that row's number i.
template <class At>
void pack_scalar(const GgufGrid& grid, const At& at, int64_t b, const float* src, uint8_t* codes, uint8_t* dst) {
  const ScalarType& type = *grid.layout.scalar;
  BlockScales scales{.d = at(grid.d, b), .dmin = at(grid.dmin, b), .sc = {}, .mn = {}};
  for (int k = 0; k < type.subs(); ++k) {
    const float sc = at(grid.sc, b * type.subs() + k), mn = at(grid.mn, b * type.subs() + k);
    scales.sc[k] = static_cast<int8_t>(sc);
    scales.mn[k] = static_cast<uint8_t>(mn);
    const Lanes scale = all_lanes(scales.d * sc), offset = all_lanes(-(scales.dmin * mn));
    const Lanes inverse = scale != 0 ? 1.0f / scale : Lanes{};
    for (int j = k * type.sub; j < (k + 1) * type.sub; j += kLanes) {
      const Lanes place = nearest_place(type, (load_lanes(src + j) - offset) * inverse);
      for (int i = 0; i < kLanes; ++i) codes[j + i] = static_cast<uint8_t>(place[i]);
    }
  }
  type.pack(scales, codes, dst);
}

template <class At>
void pack_lattice_row(const GgufGrid& grid, const At& at, int64_t b, const float* src, uint8_t* dst) {
  const LatticeCode& code = *grid.layout.lattice;
  LatticeTileScales scales{};
  scales.d = all_lanes(at(grid.d, b));
  float points[LatticeCode::block];
  for (int k = 0; k < code.subs(); ++k) {
    scales.sc[k] = all_lanes(at(grid.sc, b * code.subs() + k));
    scales.shift[k] = all_lanes(at(grid.mn, b * code.subs() + k));
    const float scale = at(grid.d, b) * at(grid.sc, b * code.subs() + k);
    for (int j = k * code.sub; j < (k + 1) * code.sub; ++j) {
      // without a scale any point will do: all books have the lowest level eight times
      const float lowest = code.levels[0] + (code.shift == LatticeCode::Shift::none ? 0.0f : 1.0f);
      points[j] = scale != 0 ? std::round(src[j] / scale) : lowest;
    }
  }
  pack_lattice(code, scales, 0, points, 1, dst);
}

}  // namespace

Weight to_blocks(const GgufGrid& grid, const at::Tensor& values) {
  const at::Tensor v = values.contiguous();
  const int64_t row_bytes = grid.blocks() * grid.ggml->block_bytes, padded = grid.padded(), block = grid.layout.block;
  std::vector<std::byte> bytes(static_cast<size_t>(grid.rows * row_bytes));
  parallel_tasks(grid.rows, [&](int64_t r) {
    std::vector<uint8_t> codes(static_cast<size_t>(block));
    const auto at = [&](const at::Tensor& t, int64_t i) { return t.const_data_ptr<float>()[i * padded + r]; };
    for (int64_t b = 0; b < grid.blocks(); ++b) {
      const float* src = v.const_data_ptr<float>() + r * grid.columns + b * block;
      uint8_t* dst = reinterpret_cast<uint8_t*>(bytes.data()) + r * row_bytes + b * grid.ggml->block_bytes;
      if (grid.layout.scalar != nullptr) {
        pack_scalar(grid, at, b, src, codes.data(), dst);
      } else {
        pack_lattice_row(grid, at, b, src, dst);
      }
    }
  });
  return {.shape = {grid.rows, grid.columns}, .base = GgufBlocks{grid.ggml, Bytes(std::move(bytes))}, .mask = {}};
}

}  // namespace pare
