#include "pare/weights/encode/scalar_fit.h"

#include <cmath>

namespace pare {
namespace {

using Scales = ScalarType::Scales;

PARE_INLINE Lanes inverse_of(const Lanes& scale) {
  return scale != 0 ? 1.0f / scale : Lanes{};
}
PARE_INLINE Lanes clamp_lanes(const Lanes& a, int low, int high) {
  return lane_min(lane_max(a, all_lanes(static_cast<float>(low))), all_lanes(static_cast<float>(high)));
}

// Numbers that share scale and offset: [n][16].
struct Part {
  const float *w, *a;
  int n;
  PARE_INLINE Lanes value(int j) const { return load_lanes(w + j * kLanes); }
  PARE_INLINE Lanes weight(int j) const { return load_lanes(a + j * kLanes); }
};

PARE_INLINE Lanes error_of(const ScalarType& type, const Part& part, const Lanes& scale, const Lanes& offset) {
  const Lanes inverse = inverse_of(scale);
  Lanes sum = {};
  for (int j = 0; j < part.n; ++j) {
    const Lanes w = part.value(j);
    const Lanes gap = w - (scale * nearest_level(type, (w - offset) * inverse) + offset);
    sum += part.weight(j) * gap * gap;
  }
  return sum;
}

struct Line {
  Lanes scale, offset;
};

// Scale and offset of least error for the levels that `from` gives, and how much they explain: sum a w^2 - error.
PARE_INLINE Line best_line(const ScalarType& type, const Part& part, const Lanes& inverse, const Lanes& offset,
                           bool any_offset, Lanes& explained) {
  Lanes a0 = {}, al = {}, all = {}, aw = {}, awl = {};
  for (int j = 0; j < part.n; ++j) {
    const Lanes w = part.value(j), a = part.weight(j);
    const Lanes level = nearest_level(type, (w - offset) * inverse);
    a0 += a;
    al += a * level;
    all += a * level * level;
    aw += a * w;
    awl += a * w * level;
  }
  const Lanes determinant = a0 * all - al * al;
  const Lanes divisor = determinant > 0 ? determinant : all_lanes(1.0f);
  Line line{(a0 * awl - aw * al) / divisor, (all * aw - al * awl) / divisor};
  const Lanes alone = all > 0 ? awl / all : Lanes{};
  const LaneBits without = any_offset ? determinant <= 0 : (determinant <= 0) | (line.offset > 0);
  line.scale = without ? alone : line.scale;
  line.offset = without ? Lanes{} : line.offset;
  explained =
      line.scale * (2 * awl - line.scale * all - 2 * line.offset * al) + line.offset * (2 * aw - line.offset * a0);
  return line;
}

// The best scale >= 0 and offset (<= 0 unless `any_offset`) for one part.
PARE_INLINE Line fit_affine(const ScalarType& type, const Part& part, bool any_offset) {
  Lanes low = any_offset ? part.value(0) : Lanes{}, high = low;
  for (int j = 0; j < part.n; ++j) {
    low = lane_min(low, part.value(j));
    high = lane_max(high, part.value(j));
  }
  const Lanes range = high - low;
  const float top = static_cast<float>(type.highest);
  Line best{range / top, low};
  Lanes best_explained = all_lanes(-3e38f), best_step = {};
  const auto consider = [&](const Lanes& inverse, const Lanes& offset, const Lanes& step) PARE_ALWAYS_INLINE {
    Lanes explained;
    const Line line = best_line(type, part, inverse, offset, any_offset, explained);
    const LaneBits better = (explained > best_explained) & (line.scale > 0);
    best.scale = better ? line.scale : best.scale;
    best.offset = better ? line.offset : best.offset;
    best_step = better ? step : best_step;
    best_explained = better ? explained : best_explained;
  };
  // the range over `top` and a little less or more, coarsely, then around each row's best, then around its line
  const Lanes unit = inverse_of(range);
  for (int i = 0; i <= 36; i += 6) {
    consider((top - 0.9f + 0.05f * static_cast<float>(i)) * unit, low, all_lanes(0.05f * static_cast<float>(i)));
  }
  const Lanes middle = best_step;
  for (const float step : {-0.1f, 0.1f}) consider((top - 0.9f + middle + step) * unit, low, middle + step);
  for (int round = 0; round < 2; ++round) consider(inverse_of(best.scale), best.offset, best_step);
  return best;
}

// The best scale of either sign for one part, offset 0.
PARE_INLINE Lanes fit_symmetric(const ScalarType& type, const Part& part) {
  Lanes largest = {};
  for (int j = 0; j < part.n; ++j) {
    const Lanes w = part.value(j);
    largest = lane_abs(w) > lane_abs(largest) ? w : largest;
  }
  Lanes best = {}, best_explained = {};
  const auto consider = [&](const Lanes& inverse) PARE_ALWAYS_INLINE {
    Lanes all = {}, awl = {};
    for (int j = 0; j < part.n; ++j) {
      const Lanes w = part.value(j), aw = part.weight(j);
      const Lanes level = nearest_level(type, w * inverse);
      awl += aw * w * level;
      all += aw * level * level;
    }
    const Lanes scale = all > 0 ? awl / all : Lanes{};
    const LaneBits better = scale * awl > best_explained;
    best_explained = better ? scale * awl : best_explained;
    best = better ? scale : best;
  };
  const Lanes unit = inverse_of(largest);
  const float low = static_cast<float>(type.lowest), high = static_cast<float>(type.highest);
  if (type.table == nullptr && high > 100) {  // 8 bits: a finer scale than that of the largest gains nothing
    consider(unit * high);
    return best;
  }
  // The largest near the lowest level, which there is one more of, and near the highest; with few levels well past it.
  // Every third of the candidates, then those beside each row's best.
  const float step = type.table != nullptr ? 1.0f : type.highest <= 1 ? 0.05f : 0.1f;
  const int past = type.highest == 2 ? 14 : 4;
  Lanes best_end = {};
  const auto consider_end = [&](const Lanes& end) PARE_ALWAYS_INLINE {
    const Lanes before = best_explained;
    consider(unit * end);
    best_end = best_explained > before ? end : best_end;
  };
  for (int i = -9; i <= std::max(9, past); i += 3) consider_end(all_lanes(low - step * static_cast<float>(i)));
  for (int i = -3; i <= past; i += 3) consider_end(all_lanes(high + step * static_cast<float>(i)));
  const Lanes middle = best_end;
  for (const float beside : {-1.0f, 1.0f}) consider_end(middle + step * beside);
  for (int round = 0; round < 2; ++round) consider(inverse_of(best));
  return best;
}

// d for which d * integers (low..high) are closest to the scales, each weighed; the integers too.
PARE_INLINE Lanes common_divisor(const Lanes* scales, const Lanes* weights, int count, int low, int high,
                                 Lanes* integers) {
  Lanes largest = {};
  for (int k = 0; k < count; ++k) largest = lane_abs(scales[k]) > lane_abs(largest) ? scales[k] : largest;
  const float end = low < 0 ? static_cast<float>(low) : static_cast<float>(high);
  Lanes best = {}, best_explained = {};
  for (int i = -9; i <= 9; ++i) {
    const Lanes inverse = inverse_of(largest) * (end + 0.1f * static_cast<float>(i));
    Lanes sl = {}, ll = {};
    for (int k = 0; k < count; ++k) {
      const Lanes level = clamp_lanes(round_lanes(scales[k] * inverse), low, high);
      sl += weights[k] * scales[k] * level;
      ll += weights[k] * level * level;
    }
    const Lanes d = ll > 0 ? sl / ll : Lanes{};
    const LaneBits better = d * sl > best_explained;
    best_explained = better ? d * sl : best_explained;
    best = better ? d : best;
  }
  best = round_to_f16(best);
  const Lanes inverse = inverse_of(best);
  for (int k = 0; k < count; ++k) integers[k] = clamp_lanes(round_lanes(scales[k] * inverse), low, high);
  return best;
}

struct Block {
  const ScalarType& type;
  const float *values, *weights;
  PARE_INLINE Part part(int k) const {
    return {values + k * type.sub * kLanes, weights + k * type.sub * kLanes, type.sub};
  }
};

// Each sub-block takes the integers around its own that err least under the block's d and dmin.
PARE_INLINE void choose_integers(const Block& block, TileScales& s) {
  const ScalarType& type = block.type;
  const int offsets = type.scales == Scales::affine ? 1 : 0;
  for (int k = 0; k < type.subs(); ++k) {
    const Part part = block.part(k);
    const Lanes sc = s.sc[k], mn = s.mn[k];
    Lanes best = error_of(type, part, s.scale(k), s.offset(k));
    for (int x = -1; x <= 1; ++x) {
      const Lanes tried_sc = clamp_lanes(sc + static_cast<float>(x), type.lowest_sc, type.highest_sc);
      for (int y = -offsets; y <= offsets; ++y) {
        if (x == 0 && y == 0) continue;
        const Lanes tried_mn = offsets == 0 ? mn : clamp_lanes(mn + static_cast<float>(y), 0, type.highest_sc);
        const Lanes error = error_of(type, part, s.d * tried_sc, -(s.dmin * tried_mn));
        const LaneBits better = error < best;
        best = better ? error : best;
        s.sc[k] = better ? tried_sc : s.sc[k];
        s.mn[k] = better ? tried_mn : s.mn[k];
      }
    }
  }
}

PARE_INLINE Lanes error_of(const Block& block, const TileScales& s) {
  Lanes sum = {};
  for (int k = 0; k < block.type.subs(); ++k) sum += error_of(block.type, block.part(k), s.scale(k), s.offset(k));
  return sum;
}

// d and dmin by least squares for the codes that they give now; kept where that is better after rounding them.
PARE_INLINE void refit(const Block& block, TileScales& s) {
  const ScalarType& type = block.type;
  // value = d u + dmin v,  u = sc level,  v = -mn
  Lanes uu = {}, uv = {}, vv = {}, uw = {}, vw = {};
  for (int k = 0; k < type.subs(); ++k) {
    const Part part = block.part(k);
    const Lanes inverse = inverse_of(s.scale(k)), offset = s.offset(k);
    for (int j = 0; j < type.sub; ++j) {
      const Lanes w = part.value(j), a = part.weight(j);
      const Lanes u = s.sc[k] * nearest_level(type, (w - offset) * inverse), v = -s.mn[k];
      uu += a * u * u;
      uv += a * u * v;
      vv += a * v * v;
      uw += a * u * w;
      vw += a * v * w;
    }
  }
  const Lanes determinant = uu * vv - uv * uv;
  const LaneBits both = determinant > 1e-6f * uu * vv;
  const Lanes divisor = both ? determinant : all_lanes(1.0f);
  const Lanes alone = uu > 0 ? (uw - s.dmin * uv) / uu : s.d;
  TileScales moved = s;
  moved.d = round_to_f16(both ? (uw * vv - vw * uv) / divisor : alone);
  moved.dmin = both ? round_to_f16((uu * vw - uv * uw) / divisor) : s.dmin;
  if (type.scales == Scales::affine) moved.dmin = lane_max(moved.dmin, Lanes{});
  const LaneBits better = error_of(block, moved) < error_of(block, s);
  s.d = better ? moved.d : s.d;
  s.dmin = better ? moved.dmin : s.dmin;
}

PARE_INLINE void fit_two_level(const Block& block, TileScales& s) {
  const ScalarType& type = block.type;
  Lanes scales[16], mins[16], weights[16];
  for (int k = 0; k < type.subs(); ++k) {
    const Part part = block.part(k);
    weights[k] = Lanes{};
    for (int j = 0; j < part.n; ++j) weights[k] += part.weight(j);
    if (type.scales == Scales::affine) {
      const Line line = fit_affine(type, part, /*any_offset=*/false);
      scales[k] = line.scale;
      mins[k] = -line.offset;
    } else {
      scales[k] = fit_symmetric(type, part);
      mins[k] = Lanes{};
    }
  }
  s.d = common_divisor(scales, weights, type.subs(), type.lowest_sc, type.highest_sc, s.sc);
  if (type.scales == Scales::affine) s.dmin = common_divisor(mins, weights, type.subs(), 0, type.highest_sc, s.mn);
  for (int round = 0; round < 2; ++round) {
    choose_integers(block, s);
    refit(block, s);
  }
}

// The two powers of two around the one that brings the largest number to the highest level.
PARE_INLINE void fit_power(const Block& block, TileScales& s) {
  const Part part = block.part(0);
  Lanes largest = {};
  for (int j = 0; j < part.n; ++j) largest = lane_max(largest, lane_abs(part.value(j)));
  // 2^floor(log2 largest), as the bits have it; levels are twice what E2M1 means, so 12 d is the largest value
  const Lanes power = reinterpret_cast<Lanes>(reinterpret_cast<LaneBits>(largest) & 0x7f800000) * 0.125f;
  s.d = power;
  Lanes best = all_lanes(3e38f);
  for (const float factor : {0.5f, 1.0f, 2.0f}) {
    const Lanes d = lane_max(power * factor, all_lanes(0x1p-126f));
    const Lanes error = error_of(block.type, part, d, Lanes{});
    s.d = error < best ? d : s.d;
    best = error < best ? error : best;
  }
}

PARE_INLINE void fit(const Block& block, TileScales& s) {
  s.d = s.dmin = Lanes{};
  for (int k = 0; k < 16; ++k) {
    s.sc[k] = all_lanes(1.0f);
    s.mn[k] = Lanes{};
  }
  switch (block.type.scales) {
    case Scales::single:
      s.d = round_to_f16(fit_symmetric(block.type, block.part(0)));
      break;
    case Scales::minimum: {
      const Line line = fit_affine(block.type, block.part(0), /*any_offset=*/true);
      s.d = round_to_f16(line.scale);
      s.dmin = round_to_f16(-line.offset);
      s.mn[0] = all_lanes(1.0f);
      refit(block, s);
      break;
    }
    case Scales::power:
      fit_power(block, s);
      break;
    case Scales::affine:
    case Scales::symmetric:
      fit_two_level(block, s);
      break;
  }
}

}  // namespace

TileScales fit_scales(const ScalarType& type, const float* values, const float* weights, simd::Level level) {
  TileScales result;
  TileScales* const to = &result;
  simd::run_at(level, [&type, values, weights, to](auto) PARE_ALWAYS_INLINE { fit({type, values, weights}, *to); });
  return result;
}

void rounding_weights(int count, const float* values, const float* importance, float* weights, simd::Level level) {
  simd::run_at(level, [=, n = count](auto) PARE_ALWAYS_INLINE {
    Lanes square = {};
    for (int j = 0; j < n; ++j) square += load_lanes(values + j * kLanes) * load_lanes(values + j * kLanes);
    square /= static_cast<float>(n);
    for (int j = 0; j < n; ++j) {
      const Lanes w = load_lanes(values + j * kLanes);
      const Lanes sum = square + w * w;
      Lanes root;
      for (int lane = 0; lane < kLanes; ++lane) root[lane] = std::sqrt(sum[lane]);
      store_lanes(weights + j * kLanes, root * (importance != nullptr ? importance[j] : 1.0f));
    }
  });
}

}  // namespace pare
