#include "pare/weights/encode/encode_rows.h"

#include <algorithm>
#include <vector>

#include "pare/base/error.h"
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

void encode_scalar(const ScalarType& type, int64_t block_bytes, const float* rows, int64_t count, int64_t cols,
                   const float* importance, uint8_t* dst) {
  const int64_t blocks = cols / type.block;
  const size_t size = static_cast<size_t>(type.block * kLanes);
  std::vector<float> values(size), weights(size), places(size);
  std::vector<uint8_t> codes(static_cast<size_t>(type.block));
  for (int64_t first = 0; first < count; first += kLanes) {
    const int64_t here = std::min<int64_t>(kLanes, count - first);
    for (int64_t b = 0; b < blocks; ++b) {
      for (int64_t r = 0; r < kLanes; ++r) {
        const float* row = rows + (first + std::min(r, here - 1)) * cols + b * type.block;
        for (int64_t j = 0; j < type.block; ++j) values[static_cast<size_t>(j * kLanes + r)] = row[j];
      }
      rounding_weights(type, values.data(), importance != nullptr ? importance + b * type.block : nullptr,
                       weights.data());
      const TileScales scales = fit_scales(type, values.data(), weights.data());
      round_tile(type, scales, values.data(), places.data());
      for (int r = 0; r < here; ++r) {
        for (int j = 0; j < type.block; ++j) {
          codes[static_cast<size_t>(j)] = static_cast<uint8_t>(places[static_cast<size_t>(j * kLanes + r)]);
        }
        type.pack(scales.of_row(r), codes.data(), dst + ((first + r) * blocks + b) * block_bytes);
      }
    }
  }
}

}  // namespace

bool can_encode_rows(const GgmlType& type) {
  return scalar_type(type) != nullptr || (type.block_elements == 1 && can_encode(type));
}

void encode_rows(const GgmlType& type, std::span<const float> rows, int64_t cols, std::span<const float> importance,
                 std::span<std::byte> dst) {
  PARE_ASSERT(can_encode_rows(type) && cols > 0 && cols % type.block_elements == 0);
  PARE_ASSERT(rows.size() % static_cast<size_t>(cols) == 0);
  PARE_ASSERT(importance.empty() || importance.size() == static_cast<size_t>(cols));
  PARE_ASSERT(dst.size() ==
              rows.size() / static_cast<size_t>(type.block_elements) * static_cast<size_t>(type.block_bytes));
  const ScalarType* scalar = scalar_type(type);
  if (scalar == nullptr) return encode_blocks(type, rows, dst);
  encode_scalar(*scalar, type.block_bytes, rows.data(), static_cast<int64_t>(rows.size()) / cols, cols,
                importance.empty() ? nullptr : importance.data(), reinterpret_cast<uint8_t*>(dst.data()));
}

}  // namespace pare
