// The arithmetic of uniform grids on vectors of sixteen rows, shared by the scale search, the GPTQ walk and the
// descent, so that all of them round alike.
#pragma once

#include <bit>

#include "pare/base/lanes.h"
#include "pare/quantize/grid_fit.h"

namespace pare {

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
