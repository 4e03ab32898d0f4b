#include "pare/quantize/grid_fit.h"

#include <algorithm>

#include "pare/quantize/grid_lanes.h"

namespace pare {

GridShape::GridShape(const GridOptions& options)
    : maxq(options.ternary ? 2.0f : static_cast<float>((1 << options.bits) - 1)),
      symmetric(options.symmetric || options.ternary),
      ternary(options.ternary),
      move_zero(!symmetric && options.bits <= 3),
      search(options.search) {
  rounding.f16 = options.scale_dtype == Dtype::f16;
  const int stored = options.scale_dtype == Dtype::f16 ? 11 : options.scale_dtype == Dtype::bf16 ? 8 : 24;
  rounding.bits = options.scale_bits > 0 ? std::min(options.scale_bits, stored) : stored;
}

namespace {

// sum over columns of importance * (w - value)^2
PARE_INLINE Lanes error_of(const GridShape& shape, const float* values, int64_t width, int64_t columns,
                           const float* importance, const Lanes& scale, const Lanes& zero) {
  const Lanes inverse = 1.0f / scale;
  const Lanes least = -zero, most = shape.maxq - zero;
  Lanes sum = {};
  for (int64_t c = 0; c < columns; ++c) {
    const Lanes w = load_lanes(values + c * width);
    const Lanes steps = round_lanes(lane_min(lane_max(w * inverse, least), most));
    const Lanes error = w - scale * steps;
    sum += importance != nullptr ? error * error * importance[c] : error * error;
  }
  return sum;
}

PARE_INLINE void fit_lanes(const GridShape& shape, const float* values, int64_t width, int64_t columns,
                           const float* importance, float* scale_dst, float* zero_dst) {
  Lanes low = {}, high = {};
  for (int64_t c = 0; c < columns; ++c) {
    const Lanes w = load_lanes(values + c * width);
    low = lane_min(low, w);
    high = lane_max(high, w);
  }
  const Lanes range = shape.ternary     ? lane_max(-low, high)
                      : shape.symmetric ? 2 * lane_max(-low, high) / shape.maxq
                                        : (high - low) / shape.maxq;
  Lanes best_scale, best_zero, best_error;
  constexpr int kSteps = 80;  // p = 1, 0.99, ... 0.21 of the range
  for (int step = 0; step < (shape.search ? kSteps : 1); ++step) {
    const float p = 1 - 0.01f * static_cast<float>(step);
    Lanes scale = round_scale(range * p, shape.rounding);
    scale = range > 0 ? scale : all_lanes(1.0f);
    Lanes zero = all_lanes(shape.fixed_zero());
    if (!shape.symmetric) zero = round_lanes(lane_min(lane_max(-low * p / scale, Lanes{}), all_lanes(shape.maxq)));
    if (step == 0) {
      best_scale = scale;
      best_zero = zero;
      if (!shape.search) break;
      best_error = error_of(shape, values, width, columns, importance, scale, zero);
      if (!shape.move_zero) continue;
    }
    for (int move = shape.move_zero ? -1 : 0; move <= (shape.move_zero ? 1 : 0); ++move) {
      const Lanes moved = lane_min(lane_max(zero + static_cast<float>(move), Lanes{}), all_lanes(shape.maxq));
      const Lanes error = error_of(shape, values, width, columns, importance, scale, moved);
      best_scale = error < best_error ? scale : best_scale;
      best_zero = error < best_error ? moved : best_zero;
      best_error = error < best_error ? error : best_error;
    }
  }
  store_lanes(scale_dst, best_scale);
  store_lanes(zero_dst, best_zero);
}

}  // namespace

void fit_group(const GridShape& shape, const float* values, int64_t width, int64_t columns, const float* importance,
               float* scale, float* zero, simd::Level level) {
  simd::run_at(level, [=](auto) PARE_ALWAYS_INLINE {
    for (int64_t r = 0; r < width; r += kLanes) {
      fit_lanes(shape, values + r, width, columns, importance, scale + r, zero + r);
    }
  });
}

void round_tile(const float* w, const float* scale, const float* zero, float maxq, float* q) {
  simd::run_at(simd::best_level(), [=](auto) PARE_ALWAYS_INLINE {
    const Lanes s = load_lanes(scale);
    store_lanes(q, s * steps_of(load_lanes(w) / s, load_lanes(zero), maxq));
  });
}

}  // namespace pare
