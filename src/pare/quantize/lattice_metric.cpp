#include "pare/quantize/lattice_metric.h"

namespace pare {
namespace {

constexpr int kRounds = 2;
constexpr int kSize = kLatticeGroup * kLanes;

PARE_INLINE Lanes row_product(const LatticePlace& place, int i, const float* e) {
  Lanes sum = {};
  for (int k = 0; k < kLatticeGroup; ++k) sum += place.metric[i * place.stride + k] * load_lanes(e + k * kLanes);
  return sum;
}

// Values of the point nearest to the target in the diagonal of M.
PARE_INLINE void nearest_by_diagonal(const LatticePlace& place, const float* target, float* values) {
  alignas(64) float scales[kLanes], weights[kSize];
  const Lanes scale = load_lanes(place.d) * load_lanes(place.sc);
  store_lanes(scales, scale);
  for (int i = 0; i < kLatticeGroup; ++i) {
    store_lanes(weights + i * kLanes, all_lanes(place.metric[i * place.stride + i]));
  }
  nearest_points(*place.code, target, weights, scales, place.shift, values);
  for (int i = 0; i < kLatticeGroup; ++i) {
    store_lanes(values + i * kLanes, scale * load_lanes(values + i * kLanes));
  }
}

PARE_INLINE bool improve(const LatticePlace& place, float* values, float* gradient, float* change) {
  alignas(64) float target[kSize];
  for (int i = 0; i < kLatticeGroup; ++i) {  // the cost's minimum in each coordinate, the others fixed
    const float diagonal = place.metric[i * place.stride + i];
    const Lanes step = diagonal > 0 ? load_lanes(gradient + i * kLanes) * (1 / diagonal) : Lanes{};
    store_lanes(target + i * kLanes, load_lanes(values + i * kLanes) + step);
  }
  nearest_by_diagonal(place, target, change);
  Lanes gain = {};
  for (int i = 0; i < kLatticeGroup; ++i) {
    store_lanes(change + i * kLanes, load_lanes(change + i * kLanes) - load_lanes(values + i * kLanes));
  }
  for (int i = 0; i < kLatticeGroup; ++i) {
    gain +=
        load_lanes(change + i * kLanes) * (2.0f * load_lanes(gradient + i * kLanes) - row_product(place, i, change));
  }
  const LaneBits better = gain > 0;
  int rows = 0;
  for (int lane = 0; lane < kLanes; ++lane) rows += better[lane] != 0 ? 1 : 0;
  if (rows == 0) return false;
  for (int i = 0; i < kLatticeGroup; ++i) {
    const Lanes taken = better ? load_lanes(change + i * kLanes) : Lanes{};
    store_lanes(change + i * kLanes, taken);
  }
  for (int i = 0; i < kLatticeGroup; ++i) {
    store_lanes(values + i * kLanes, load_lanes(values + i * kLanes) + load_lanes(change + i * kLanes));
    store_lanes(gradient + i * kLanes, load_lanes(gradient + i * kLanes) - row_product(place, i, change));
  }
  return true;
}

PARE_INLINE void nearest(const LatticePlace& place, const float* target, float* values) {
  alignas(64) float error[kSize], gradient[kSize], change[kSize];
  nearest_by_diagonal(place, target, values);
  for (int i = 0; i < kLatticeGroup; ++i) {
    store_lanes(error + i * kLanes, load_lanes(target + i * kLanes) - load_lanes(values + i * kLanes));
  }
  for (int i = 0; i < kLatticeGroup; ++i) store_lanes(gradient + i * kLanes, row_product(place, i, error));
  for (int round = 0; round < kRounds && improve(place, values, gradient, change); ++round) {
  }
}

}  // namespace

void nearest_in_metric(const LatticePlace& place, const float* target, float* values) {
  simd::run_at(simd::best_level(), [=, &place](auto) PARE_ALWAYS_INLINE { nearest(place, target, values); });
}

bool improve_in_metric(const LatticePlace& place, float* values, float* gradient, float* change) {
  return simd::run_at(simd::best_level(),
                      [=, &place](auto) PARE_ALWAYS_INLINE { return improve(place, values, gradient, change); });
}

}  // namespace pare
