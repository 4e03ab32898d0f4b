// GGUF's types with a code for each number, as whoever chooses the codes sees them:
//
//   value = scale * level(code) + offset      scale, offset: of the sub-block that the number is in
//   scale = d * sc,  offset = -(dmin * mn)    d, dmin f16 of the block; sc, mn integers of the sub-block
//
// The scales have their places whatever the codes are, which is what lets GPTQ fix them first and walk the columns in
// any order. Computed in f32 in this order, values have the bits of ggml's decoder: d * sc and its product with a level
// are exact, so that one rounding is left.
#pragma once

#include <cstdint>

#include "pare/base/lanes.h"
#include "pare/io/ggml_type.h"

namespace pare {

struct ScalarType {
  enum class Scales {
    single,    // sc is 1 and there is no offset: Q2_0 Q4_0 Q5_0 Q8_0 IQ4_NL TQ1_0 TQ2_0
    minimum,   // so, and an offset m of any sign in f16: Q4_1 Q5_1
    power,     // d is a power of two: MXFP4
    affine,    // sc and mn from 0 to highest_sc: Q2_K Q4_K Q5_K
    symmetric  // sc from lowest_sc to highest_sc, no offset: Q3_K Q6_K IQ4_XS
  };

  uint32_t id;          // of its GgmlType
  int block, sub;       // elements of a block, and of those that share scale and offset
  int lowest, highest;  // levels: all integers between, the code of the lowest being 0
  const int8_t* table;  // or these sixteen, ascending; code_of_level: what is stored for each
  const uint8_t* code_of_level;
  Scales scales;
  int lowest_sc, highest_sc;
  void (*pack)(const struct BlockScales& scales, const uint8_t* codes, uint8_t* dst);

  int subs() const { return block / sub; }
  bool two_level() const { return scales == Scales::affine || scales == Scales::symmetric; }
  bool has_offset() const { return scales == Scales::affine || scales == Scales::minimum; }
};

// The scales of one block of one row.
struct BlockScales {
  float d = 0, dmin = 0;  // as f16 has them; with Scales::minimum, dmin = -m and mn = 1
  int8_t sc[16] = {};
  uint8_t mn[16] = {};
};

// Nothing for types that are not made of single numbers, and for NVFP4, whose scale depends on a second tensor.
const ScalarType* scalar_type(const GgmlType& type);

// The scales of one block of sixteen rows.
struct TileScales {
  Lanes d, dmin;
  Lanes sc[16], mn[16];

  PARE_INLINE Lanes scale(int sub) const { return d * sc[sub]; }
  PARE_INLINE Lanes offset(int sub) const { return -(dmin * mn[sub]); }
  BlockScales of_row(int lane) const;
};

// The place among the levels (0: the lowest) that is nearest to x = (w - offset) / scale, and the level there.
PARE_INLINE Lanes nearest_place(const ScalarType& type, const Lanes& x) {
  if (type.table == nullptr) {
    const float low = static_cast<float>(type.lowest), high = static_cast<float>(type.highest);
    return round_lanes(lane_min(lane_max(x, all_lanes(low)), all_lanes(high))) - low;
  }
  Lanes place = {};
  for (int i = 0; i < 15; ++i) {
    const float middle = 0.5f * static_cast<float>(type.table[i] + type.table[i + 1]);
    place += x > middle ? all_lanes(1.0f) : Lanes{};
  }
  return place;
}
PARE_INLINE Lanes nearest_level(const ScalarType& type, const Lanes& x) {
  if (type.table == nullptr) {
    const float low = static_cast<float>(type.lowest), high = static_cast<float>(type.highest);
    return round_lanes(lane_min(lane_max(x, all_lanes(low)), all_lanes(high)));
  }
  Lanes level = all_lanes(static_cast<float>(type.table[0]));
  for (int i = 0; i < 15; ++i) {
    const float middle = 0.5f * static_cast<float>(type.table[i] + type.table[i + 1]);
    const float step = static_cast<float>(type.table[i + 1] - type.table[i]);
    level += x > middle ? all_lanes(step) : Lanes{};
  }
  return level;
}

}  // namespace pare
