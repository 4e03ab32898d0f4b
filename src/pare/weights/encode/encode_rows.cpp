#include "pare/weights/encode/encode_rows.h"

#include <algorithm>
#include <vector>

#include "pare/base/error.h"
#include "pare/weights/encode/lattice_fit.h"
#include "pare/weights/encode/scalar_fit.h"
#include "pare/weights/gguf_blocks.h"

namespace pare {
namespace {

// The places of all numbers of a tile, [block][16].
PARE_INLINE void round_lanes_to(const ScalarType& type, const TileScales& scales, const float* values, float* places) {
  for (int k = 0; k < type.subs(); ++k) {
    const Lanes scale = scales.scale(k), offset = scales.offset(k);
    const Lanes inverse = scale != 0 ? 1.0f / scale : Lanes{};
    for (int j = k * type.sub; j < (k + 1) * type.sub; ++j) {
      store_lanes(places + j * kLanes, nearest_place(type, (load_lanes(values + j * kLanes) - offset) * inverse));
    }
  }
}

void round_tile(const ScalarType& type, const TileScales& scales, const float* values, float* places) {
  simd::run_at(simd::best_level(), [&type, &scales, values, places](auto)
                                       PARE_ALWAYS_INLINE { round_lanes_to(type, scales, values, places); });
}

// Sixteen rows' part of one block, column by column; rows past the last repeat it.
struct Tile {
  explicit Tile(int64_t block)
      : values(static_cast<size_t>(block * kLanes)), weights(values.size()), codes(values.size()) {}
  std::vector<float> values, weights, codes;
};

class ScalarEncoder {
 public:
  explicit ScalarEncoder(const ScalarType& type) : type_(type), row_(static_cast<size_t>(type.block)) {}
  int block() const { return type_.block; }
  void encode(Tile& tile) {
    scales_ = fit_scales(type_, tile.values.data(), tile.weights.data());
    round_tile(type_, scales_, tile.values.data(), tile.codes.data());
  }
  void pack(const Tile& tile, int row, uint8_t* dst) {
    for (size_t j = 0; j < row_.size(); ++j) {
      row_[j] = static_cast<uint8_t>(tile.codes[j * kLanes + static_cast<size_t>(row)]);
    }
    type_.pack(scales_.of_row(row), row_.data(), dst);
  }

 private:
  const ScalarType& type_;
  TileScales scales_;
  std::vector<uint8_t> row_;
};

class LatticeEncoder {
 public:
  explicit LatticeEncoder(const LatticeCode& code) : code_(code) {}
  int block() const { return LatticeCode::block; }
  void encode(Tile& tile) {
    scales_ = fit_lattice(code_, tile.values.data(), tile.weights.data());
    round_to_lattice(code_, scales_, tile.values.data(), tile.weights.data(), tile.codes.data());
  }
  void pack(const Tile& tile, int row, uint8_t* dst) {
    pack_lattice(code_, scales_, row, tile.codes.data() + row, kLanes, dst);
  }

 private:
  const LatticeCode& code_;
  LatticeTileScales scales_;
};

template <class Encoder>
void encode_with(Encoder encoder, int64_t block_bytes, const float* rows, int64_t count, int64_t cols,
                 const float* importance, uint8_t* dst) {
  const int64_t block = encoder.block(), blocks = cols / block;
  Tile tile(block);
  for (int64_t first = 0; first < count; first += kLanes) {
    const int64_t here = std::min<int64_t>(kLanes, count - first);
    for (int64_t b = 0; b < blocks; ++b) {
      for (int64_t r = 0; r < kLanes; ++r) {
        const float* row = rows + (first + std::min(r, here - 1)) * cols + b * block;
        for (int64_t j = 0; j < block; ++j) tile.values[static_cast<size_t>(j * kLanes + r)] = row[j];
      }
      rounding_weights(static_cast<int>(block), tile.values.data(),
                       importance != nullptr ? importance + b * block : nullptr, tile.weights.data());
      encoder.encode(tile);
      for (int r = 0; r < here; ++r) encoder.pack(tile, r, dst + ((first + r) * blocks + b) * block_bytes);
    }
  }
}

}  // namespace

bool can_encode_rows(const GgmlType& type) {
  return scalar_type(type) != nullptr || lattice_code(type) != nullptr ||
         (type.block_elements == 1 && can_encode(type));
}

void encode_rows(const GgmlType& type, std::span<const float> rows, int64_t cols, std::span<const float> importance,
                 std::span<std::byte> dst) {
  PARE_ASSERT(can_encode_rows(type) && cols > 0 && cols % type.block_elements == 0);
  PARE_ASSERT(rows.size() % static_cast<size_t>(cols) == 0);
  PARE_ASSERT(importance.empty() || importance.size() == static_cast<size_t>(cols));
  PARE_ASSERT(dst.size() ==
              rows.size() / static_cast<size_t>(type.block_elements) * static_cast<size_t>(type.block_bytes));
  const int64_t count = static_cast<int64_t>(rows.size()) / cols;
  const float* weighed_by = importance.empty() ? nullptr : importance.data();
  auto* const to = reinterpret_cast<uint8_t*>(dst.data());
  if (const ScalarType* scalar = scalar_type(type)) {
    encode_with(ScalarEncoder(*scalar), type.block_bytes, rows.data(), count, cols, weighed_by, to);
  } else if (const LatticeCode* lattice = lattice_code(type)) {
    encode_with(LatticeEncoder(*lattice), type.block_bytes, rows.data(), count, cols, weighed_by, to);
  } else {
    encode_blocks(type, rows, dst);
  }
}

}  // namespace pare
