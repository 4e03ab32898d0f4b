#include "pare/weights/encode/lattice_fit.h"

#include <cmath>

#include "pare/base/float_types.h"

namespace pare {
namespace {

constexpr int kMostInSub = 32;

// One sub-block as the points of a scale explain it: over its numbers w, weights a and points v,
//   awv = sum a w v,  avv = sum a v^2,  error = sum a (w - scale v)^2
struct Sums {
  Lanes awv, avv, error;
};

class LatticePart {
 public:
  LatticePart(const LatticeCode& code, const float* w, const float* a) : code_(code), w_(w), a_(a) {}

  PARE_INLINE Sums under(const Lanes& scale, const Lanes& shift) const {
    alignas(64) float points[kMostInSub * kLanes], scales[kLanes], shifts[kLanes];
    store_lanes(scales, scale);
    store_lanes(shifts, shift);
    for (int first = 0; first < code_.sub; first += kLatticeGroup) {
      nearest_points(code_, w_ + first * kLanes, a_ + first * kLanes, scales, shifts, points + first * kLanes);
    }
    Sums sums{};
    for (int j = 0; j < code_.sub; ++j) {
      const Lanes w = load_lanes(w_ + j * kLanes), a = load_lanes(a_ + j * kLanes), v = load_lanes(points + j * kLanes);
      const Lanes gap = w - scale * v;
      sums.awv += a * w * v;
      sums.avv += a * v * v;
      sums.error += a * gap * gap;
    }
    return sums;
  }

  // Root of the weighted mean square, and the sum of the weights.
  PARE_INLINE Lanes size(Lanes& weight) const {
    Lanes square = {};
    weight = Lanes{};
    for (int j = 0; j < code_.sub; ++j) {
      const Lanes w = load_lanes(w_ + j * kLanes), a = load_lanes(a_ + j * kLanes);
      square += a * w * w;
      weight += a;
    }
    Lanes root = {};
    for (int lane = 0; lane < kLanes; ++lane)
      root[lane] = weight[lane] > 0 ? std::sqrt(square[lane] / weight[lane]) : 0;
    return root;
  }

 private:
  const LatticeCode& code_;
  const float *w_, *a_;
};

// The best scale for one sub-block by itself: least squares over the points that some scales give.
struct Alone {
  Lanes scale = {}, explained = {}, shift = {};
};
PARE_INLINE Alone fit_alone(const LatticeCode& code, const LatticePart& part, const Lanes& size) {
  constexpr float kFactors[] = {0.7f, 0.8f, 0.9f, 1.0f, 1.1f, 1.25f, 1.45f};
  Alone best;
  const auto consider = [&](const Lanes& scale, const Lanes& shift) PARE_ALWAYS_INLINE {
    const Sums sums = part.under(scale, shift);
    const Lanes fitted = sums.avv > 0 ? sums.awv / sums.avv : Lanes{};
    const LaneBits better = (fitted > 0) & (fitted * sums.awv > best.explained);
    best.explained = better ? fitted * sums.awv : best.explained;
    best.scale = better ? fitted : best.scale;
    best.shift = better ? shift : best.shift;
  };
  const bool shifts = code.shift == LatticeCode::Shift::sub_block;
  if (shifts) best.shift = all_lanes(1.0f);
  for (const float factor : kFactors) {
    const Lanes scale = size * (factor / code.typical_size);
    consider(scale, all_lanes(shifts ? 1.0f : 0.0f));
    if (shifts) consider(scale, all_lanes(-1.0f));
  }
  consider(best.scale, best.shift);
  return best;
}

// d for which d * odd units are closest to the scales, each weighed; the odd units too.
PARE_INLINE Lanes common_divisor(const LatticeCode& code, const Lanes* scales, const Lanes* weights, Lanes* sc) {
  Lanes largest = {};
  for (int k = 0; k < code.subs(); ++k) largest = lane_max(largest, scales[k]);
  Lanes best = {}, best_explained = all_lanes(-1.0f);
  for (int i = 0; i < 20; ++i) {
    // the largest scale at every odd number from the highest down to about half of it, and between
    const float odd = static_cast<float>(code.highest) * (1.1f - 0.03f * static_cast<float>(i));
    const Lanes inverse = largest > 0 ? odd * code.unit / largest : Lanes{};
    Lanes sl = {}, ll = {};
    for (int k = 0; k < code.subs(); ++k) {
      const Lanes level = nearest_odd(code, scales[k] * inverse);
      sl += weights[k] * scales[k] * level;
      ll += weights[k] * level * level;
    }
    const Lanes d = ll > 0 ? sl / ll : Lanes{};
    const LaneBits better = d * sl > best_explained;
    best_explained = better ? d * sl : best_explained;
    best = better ? d : best;
  }
  best = round_to_f16(best);
  for (int k = 0; k < code.subs(); ++k) sc[k] = nearest_odd(code, best > 0 ? scales[k] / best : Lanes{});
  return best;
}

class TileFit {
 public:
  TileFit(const LatticeCode& code, const float* values, const float* weights)
      : code_(code), values_(values), weights_(weights) {}

  PARE_INLINE void run(LatticeTileScales& to) {
    Lanes alone[16], weight[16];
    for (int k = 0; k < code_.subs(); ++k) {
      Lanes sum;
      const Lanes size = part(k).size(sum);
      const Alone best = fit_alone(code_, part(k), size);
      alone[k] = best.scale;
      s_.shift[k] = best.shift;
      // what moving the scale off its best costs: avv = explained / scale^2
      weight[k] = best.scale > 0 ? best.explained / (best.scale * best.scale) : Lanes{};
    }
    s_.d = common_divisor(code_, alone, weight, s_.sc);
    for (int k = 0; k < code_.subs(); ++k) now_[k] = part(k).under(s_.scale(k), s_.shift[k]);
    for (int round = 0; round < 2; ++round) {
      choose_odds();
      refit();
    }
    to = s_;
  }

 private:
  PARE_INLINE LatticePart part(int k) const {
    return {code_, values_ + k * code_.sub * kLanes, weights_ + k * code_.sub * kLanes};
  }

  // Each sub-block takes the one of the odd numbers around its own that errs least under the block's d.
  PARE_INLINE void choose_odds() {
    for (int k = 0; k < code_.subs(); ++k) {
      const Lanes sc = s_.sc[k];
      for (const float step : {-2.0f, 2.0f}) {
        const Lanes tried = nearest_odd(code_, sc + step * code_.unit);
        const Sums sums = part(k).under(s_.d * tried, s_.shift[k]);
        take(sums.error < now_[k].error, tried, sums, k);
      }
    }
  }
  PARE_INLINE void take(const LaneBits& better, const Lanes& sc, const Sums& sums, int k) {
    s_.sc[k] = better ? sc : s_.sc[k];
    now_[k].awv = better ? sums.awv : now_[k].awv;
    now_[k].avv = better ? sums.avv : now_[k].avv;
    now_[k].error = better ? sums.error : now_[k].error;
  }

  // d by least squares for the points that it gives now; kept where that is better after rounding it.
  PARE_INLINE void refit() {
    Lanes up = {}, down = {}, before = {}, after = {};
    for (int k = 0; k < code_.subs(); ++k) {
      up += s_.sc[k] * now_[k].awv;
      down += s_.sc[k] * s_.sc[k] * now_[k].avv;
      before += now_[k].error;
    }
    const Lanes d = round_to_f16(down > 0 ? lane_max(up / down, Lanes{}) : s_.d);
    Sums moved[16];
    for (int k = 0; k < code_.subs(); ++k) {
      moved[k] = part(k).under(d * s_.sc[k], s_.shift[k]);
      after += moved[k].error;
    }
    const LaneBits better = after < before;
    s_.d = better ? d : s_.d;
    for (int k = 0; k < code_.subs(); ++k) take(better, s_.sc[k], moved[k], k);
  }

  const LatticeCode& code_;
  const float *values_, *weights_;
  LatticeTileScales s_{};
  Sums now_[16] = {};
};

}  // namespace

LatticeTileScales fit_lattice(const LatticeCode& code, const float* values, const float* weights) {
  LatticeTileScales result;
  LatticeTileScales* const to = &result;
  simd::run_at(simd::best_level(),
               [&code, values, weights, to](auto) PARE_ALWAYS_INLINE { TileFit(code, values, weights).run(*to); });
  return result;
}

void round_to_lattice(const LatticeCode& code, const LatticeTileScales& scales, const float* values,
                      const float* weights, float* points) {
  alignas(64) float scale[kLanes], shift[kLanes];
  for (int k = 0; k < code.subs(); ++k) {
    store_lanes(scale, scales.scale(k));
    store_lanes(shift, scales.shift[k]);
    for (int j = k * code.sub; j < (k + 1) * code.sub; j += kLatticeGroup) {
      nearest_points(code, values + j * kLanes, weights + j * kLanes, scale, shift, points + j * kLanes);
    }
  }
}

void pack_lattice(const LatticeCode& code, const LatticeTileScales& scales, int lane, const float* points, int stride,
                  uint8_t* dst) {
  gguf::LatticeBlock block;
  block.d = float_to_f16(scales.d[lane]);
  for (int i = 0; i < 16; ++i) {
    block.scales[i] = static_cast<uint8_t>(std::lround(scales.sc[i * 16 / code.sub][lane] / code.unit));
  }
  for (int j = 0; j < code.block; ++j) block.values[j] = static_cast<int8_t>(points[j * stride]);
  code.pack(block, dst);
}

}  // namespace pare
