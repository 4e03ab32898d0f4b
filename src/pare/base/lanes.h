// Sixteen rows of a matrix at a time: one vector is one column of sixteen rows.
//
// Rows are independent and share every index, so a strip of rows is held column by column (column c, row r at
// [c * stride + r]). Forced inline into kernels made for each simd::Level.
#pragma once

#include <cstdint>

#include "pare/base/simd.h"

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

// The nearest f16, as f32 (a cast of vectors keeps their bits; std::bit_cast would want them aligned); beyond its range
// its largest.
PARE_INLINE Lanes round_to_f16(const Lanes& a) {
  const LaneBits sign = reinterpret_cast<LaneBits>(a) & static_cast<int32_t>(0x80000000u);
  const Lanes size = lane_abs(a);
  const LaneBits bits = reinterpret_cast<LaneBits>(size);
  const Lanes normal = reinterpret_cast<Lanes>((bits + (0xfff + ((bits >> 13) & 1))) & ~0x1fff);
  const Lanes subnormal = (size + 0.5f) - 0.5f;  // multiples of 2^-24
  const Lanes rounded = lane_min(size < 0x1p-14f ? subnormal : normal, all_lanes(65504.0f));
  return reinterpret_cast<Lanes>(reinterpret_cast<LaneBits>(rounded) | sign);
}

}  // namespace pare
