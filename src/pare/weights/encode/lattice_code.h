// GGUF's types whose codes are points of a lattice (gguf_lattice.h), as whoever chooses the codes sees them:
//
//   eight numbers at once = scale * (signs * point + shift)     point: one entry of the book, or two of four numbers
//   scale = d * sc                                               sc: an odd number of `unit`s, of the sub-block
//   shift = +1 or -1                                             of IQ1 only, whose points are multiples of 8
//
// A point is named as a whole, so that a solver fixes eight columns at once and not one.
#pragma once

#include <cstdint>

#include "pare/base/lanes.h"
#include "pare/io/ggml_type.h"
#include "pare/weights/gguf_lattice.h"
#include "pare/weights/lattice_tables.h"

namespace pare {

constexpr int kLatticeGroup = 8;

struct LatticeCode {
  enum class Signs {
    none,  // the book has them
    even,  // seven stored, the number of minuses is even
    free
  };
  enum class Shift { none, sub_block, group };

  uint32_t id;  // of its GgmlType
  const gguf::CodeBook* book;
  int8_t levels[8];  // what a digit of the book stands for
  Signs signs;
  Shift shift;
  int sub;             // numbers that share a scale: 16 or 32
  int highest;         // of the odd numbers
  float unit;          // a power of two
  float typical_size;  // root of the mean square of points that rounding normal numbers gives
  void (*pack)(const gguf::LatticeBlock& block, uint8_t* dst);

  static constexpr int block = gguf::kLatticeBlock;
  int subs() const { return block / sub; }
};

// Nothing for other types.
const LatticeCode* lattice_code(const GgmlType& type);

// The odd multiple of the unit that is nearest to x.
PARE_INLINE Lanes nearest_odd(const LatticeCode& code, const Lanes& x) {
  const float most = static_cast<float>((code.highest - 1) / 2);
  const Lanes half = (x * (1 / code.unit) - 1.0f) * 0.5f;
  return (2.0f * round_lanes(lane_min(lane_max(half, Lanes{}), all_lanes(most))) + 1.0f) * code.unit;
}

// The point nearest to eight numbers of sixteen rows, each number weighed:
//
//   minimise  sum_e weights_e (target_e - scale * values_e)^2          values: signs * point + shift, whole numbers
//
// exactly, over every entry and sign. target, weights, values: [8][16], column by column; scale, shift: [16]. shift:
// +1 or -1 with Shift::sub_block, elsewhere not read. A weight of 0 leaves its number to chance; none is negative.
void nearest_points(const LatticeCode& code, const float* target, const float* weights, const float* scale,
                    const float* shift, float* values, simd::Level level = simd::best_level());

}  // namespace pare
