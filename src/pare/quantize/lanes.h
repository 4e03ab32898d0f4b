// Sixteen rows of a weight at a time: the arithmetic of uniform grids on vectors, shared by the scale search, the GPTQ
// walk and the descent, so that all of them round alike.
//
// Rows are independent and share every index, so a strip of rows is held column by column (column c, row r at
// [c * stride + r]) and one vector is one column of sixteen rows. Forced inline into kernels made for each simd::Level.
#pragma once

#include <bit>
#include <cstdint>

#include "pare/curvature/simd.h"
#include "pare/quantize/grid_fit.h"

namespace pare {

constexpr int kLanes = 16;
using Lanes = simd::Vector<float, 64>::type;
using LaneBits = simd::Vector<int32_t, 64>::type;

PARE_INLINE Lanes load_lanes(const float* src) {
  return *reinterpret_cast<const Lanes*>(src);
}
PARE_INLINE void store_lanes(float* dst, const Lanes& value) {
  *reinterpret_cast<Lanes*>(dst) = value;
}
PARE_INLINE Lanes all_lanes(float value) {
  return Lanes{} + value;
}
PARE_INLINE Lanes lane_max(const Lanes& a, const Lanes& b) {
  return a > b ? a : b;
}
PARE_INLINE Lanes lane_min(const Lanes& a, const Lanes& b) {
  return a < b ? a : b;
}
PARE_INLINE Lanes lane_abs(const Lanes& a) {
  return a < 0 ? -a : a;
}
// Half to even; |a| < 2^22.
PARE_INLINE Lanes round_lanes(const Lanes& a) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: the sum has no room for a fraction
  return (a + kShift) - kShift;
}

// w in steps from the grid's zero: an integer in -zero .. maxq - zero. The value is scale * steps.
PARE_INLINE Lanes steps_of(const Lanes& w_over_scale, const Lanes& zero, float maxq) {
  return round_lanes(lane_min(lane_max(w_over_scale, -zero), maxq - zero));
}

// The nearest storable scale; positive in, positive out (never 0).
PARE_INLINE Lanes round_scale(const Lanes& scale, const ScaleRounding& rounding) {
  const int drop = 24 - rounding.bits;
  Lanes result = scale;
  if (drop > 0) {
    const LaneBits bits = std::bit_cast<LaneBits>(scale);
    const LaneBits half_up = bits + ((1 << (drop - 1)) - 1) + ((bits >> drop) & 1);
    result = std::bit_cast<Lanes>(half_up & ~((1 << drop) - 1));
  }
  if (rounding.f16) {
    const Lanes subnormal = (result + 0.5f) - 0.5f;  // multiples of 2^-24
    result = result < 0x1p-14f ? subnormal : result;
    const float ulp = std::bit_cast<float>((128 - rounding.bits) << 23);  // 2^(1 - bits)
    result = lane_min(result, all_lanes((2 - ulp) * 32768));              // 65504 with all 11 bits
  }
  return result > 0 ? result : all_lanes(0x1p-14f);  // the smallest normal f16
}

}  // namespace pare
