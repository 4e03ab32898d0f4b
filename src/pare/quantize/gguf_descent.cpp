#include "pare/quantize/gguf_descent.h"

#include <algorithm>
#include <vector>

#include "pare/base/error.h"
#include "pare/curvature/matmul.h"
#include "pare/curvature/parallel_tasks.h"
#include "pare/quantize/lattice_metric.h"
#include "pare/quantize/strips.h"

namespace pare {
namespace {

constexpr int64_t kSpan = 128;  // columns that are up to date among themselves; one block where that is larger

// One span of a strip, as the kernel sees it: all pointers at its first column, block and sub-block.
struct Span {
  const GgufLayout* layout;
  int64_t columns, width;
  const float* h;  // the span's part of H on the diagonal, rows h_stride apart
  int64_t h_stride;
  float *q, *g, *level;        // [columns][width]
  float *d, *dmin;             // [blocks][width]
  float *sc, *mn;              // [sub-blocks][width]
  float *direction, *product;  // [columns][16], scratch
};

PARE_INLINE Lanes curve_of(const Span& s, int64_t first, int64_t last, Lanes& slope, int64_t r) {
  // product = H direction over the span, of a direction that is 0 outside first .. last - 1
  slope = Lanes{};
  for (int64_t j = first; j < last; ++j) {
    slope += load_lanes(s.direction + j * kLanes) * load_lanes(s.g + j * s.width + r);
  }
  for (int64_t k = 0; k < s.columns; ++k) {
    Lanes sum = {};
    for (int64_t j = first; j < last; ++j) sum += load_lanes(s.direction + j * kLanes) * s.h[k * s.h_stride + j];
    store_lanes(s.product + k * kLanes, sum);
  }
  Lanes curve = {};
  for (int64_t j = first; j < last; ++j) {
    curve += load_lanes(s.direction + j * kLanes) * load_lanes(s.product + j * kLanes);
  }
  return curve;
}

// The values of one sub-block, after its scales have moved.
PARE_INLINE void recompute(const Span& s, int64_t sub, int64_t r) {
  const int64_t block = sub / s.layout->subs();
  const Lanes scale = load_lanes(s.d + block * s.width + r) * load_lanes(s.sc + sub * s.width + r);
  const Lanes offset = -(load_lanes(s.dmin + block * s.width + r) * load_lanes(s.mn + sub * s.width + r));
  for (int64_t j = sub * s.layout->sub; j < (sub + 1) * s.layout->sub; ++j) {
    store_lanes(s.q + j * s.width + r, scale * load_lanes(s.level + j * s.width + r) + offset);
  }
}

// G follows a step along the direction whose product with H was just made.
PARE_INLINE void follow(const Span& s, const Lanes& step, int64_t r) {
  for (int64_t k = 0; k < s.columns; ++k) {
    float* g = s.g + k * s.width + r;
    store_lanes(g, load_lanes(g) - step * load_lanes(s.product + k * kLanes));
  }
}

PARE_INLINE void move_codes(const Span& s, int64_t sub, int64_t r) {
  const int64_t block = sub / s.layout->subs();
  const Lanes scale = load_lanes(s.d + block * s.width + r) * load_lanes(s.sc + sub * s.width + r);
  const Lanes offset = -(load_lanes(s.dmin + block * s.width + r) * load_lanes(s.mn + sub * s.width + r));
  const Lanes inverse = scale != 0 ? 1.0f / scale : Lanes{};
  for (int64_t j = sub * s.layout->sub; j < (sub + 1) * s.layout->sub; ++j) {
    const float* h = s.h + j * s.h_stride;
    const float diagonal = h[j];
    if (!(diagonal > 0)) continue;  // a dead input
    float* place = s.q + j * s.width + r;
    const Lanes old = load_lanes(place), slope = load_lanes(s.g + j * s.width + r);
    const Lanes level = nearest_level(*s.layout->scalar, (old + slope * (1 / diagonal) - offset) * inverse);
    const Lanes point = scale * level + offset;
    const Lanes change = point - old;
    const LaneBits better = change * (2 * slope - change * diagonal) > 0;
    const Lanes moved = better ? change : Lanes{};
    float* levels = s.level + j * s.width + r;
    store_lanes(place, better ? point : old);
    store_lanes(levels, better ? level : load_lanes(levels));
    for (int64_t k = 0; k < s.columns; ++k) {
      float* g = s.g + k * s.width + r;
      store_lanes(g, load_lanes(g) - moved * h[k]);
    }
  }
}

// The same for the codes of a lattice, eight numbers each.
PARE_INLINE void move_points(const Span& s, int64_t sub, int64_t r) {
  constexpr int kSize = kLatticeGroup * kLanes;
  const int64_t block = sub / s.layout->subs();
  const float *d = s.d + block * s.width + r, *sc = s.sc + sub * s.width + r;
  const Lanes scale = load_lanes(d) * load_lanes(sc);
  const Lanes inverse = scale != 0 ? 1.0f / scale : Lanes{};
  for (int64_t j = sub * s.layout->sub; j < (sub + 1) * s.layout->sub; j += kLatticeGroup) {
    alignas(64) float values[kSize], gradient[kSize], change[kSize];
    for (int64_t i = 0; i < kLatticeGroup; ++i) {
      store_lanes(values + i * kLanes, load_lanes(s.q + (j + i) * s.width + r));
      store_lanes(gradient + i * kLanes, load_lanes(s.g + (j + i) * s.width + r));
    }
    const float* h = s.h + j * s.h_stride;
    if (!improve_in_metric({s.layout->lattice, h + j, s.h_stride, d, sc, s.mn + sub * s.width + r}, values, gradient,
                           change)) {
      continue;
    }
    for (int64_t i = 0; i < kLatticeGroup; ++i) {
      const Lanes point = round_lanes(load_lanes(values + i * kLanes) * inverse);
      const LaneBits none = scale == 0;
      float* level = s.level + (j + i) * s.width + r;
      store_lanes(level, none ? load_lanes(level) : point);
      store_lanes(s.q + (j + i) * s.width + r, scale * point);
    }
    for (int64_t k = 0; k < s.columns; ++k) {
      Lanes sum = {};
      for (int64_t i = 0; i < kLatticeGroup; ++i) sum += load_lanes(change + i * kLanes) * h[i * s.h_stride + k];
      float* g = s.g + k * s.width + r;
      store_lanes(g, load_lanes(g) - sum);
    }
  }
}

// A number that a scale of a sub-block may be.
PARE_INLINE Lanes nearest_scale(const GgufLayout& layout, const Lanes& x, int low, int high) {
  if (layout.lattice != nullptr) return nearest_odd(*layout.lattice, x);
  return round_lanes(lane_min(lane_max(x, all_lanes(static_cast<float>(low))), all_lanes(static_cast<float>(high))));
}

// `what` (sc or mn of a sub-block) moves by whole steps, each of which changes the values by the direction.
PARE_INLINE void move_integer(const Span& s, int64_t sub, int64_t r, float* what, int low, int high) {
  Lanes slope;
  const Lanes curve = curve_of(s, sub * s.layout->sub, (sub + 1) * s.layout->sub, slope, r);
  const Lanes old = load_lanes(what);
  const Lanes ideal = old + slope / (curve > 0 ? curve : all_lanes(1.0f));
  const Lanes change = nearest_scale(*s.layout, ideal, low, high) - old;
  const LaneBits better = (curve > 0) & (change * (2 * slope - change * curve) > 0);
  const Lanes moved = better ? change : Lanes{};
  store_lanes(what, old + moved);
  recompute(s, sub, r);
  follow(s, moved, r);
}

// `what` (d or dmin of a block) moves to the f16 nearest to its best.
PARE_INLINE void move_float(const Span& s, int64_t block, int64_t r, float* what, bool not_negative) {
  Lanes slope;
  const Lanes curve = curve_of(s, block * s.layout->block, (block + 1) * s.layout->block, slope, r);
  const Lanes old = load_lanes(what);
  Lanes ideal = round_to_f16(old + slope / (curve > 0 ? curve : all_lanes(1.0f)));
  if (not_negative) ideal = lane_max(ideal, Lanes{});
  const Lanes change = ideal - old;
  const LaneBits better = (curve > 0) & (change * (2 * slope - change * curve) > 0);
  const Lanes moved = better ? change : Lanes{};
  store_lanes(what, better ? ideal : old);
  for (int64_t k = block * s.layout->subs(); k < (block + 1) * s.layout->subs(); ++k) recompute(s, k, r);
  follow(s, moved, r);
}

PARE_INLINE void improve_sub_scalar(const Span& s, int64_t sub, int64_t r, bool refit) {
  const ScalarType& type = *s.layout->scalar;
  const int64_t block = sub / type.subs(), first = sub * type.sub, last = first + type.sub;
  move_codes(s, sub, r);
  if (!refit || !type.two_level()) return;
  const float *d = s.d + block * s.width + r, *dmin = s.dmin + block * s.width + r;
  for (int64_t j = first; j < last; ++j) {
    store_lanes(s.direction + j * kLanes, load_lanes(d) * load_lanes(s.level + j * s.width + r));
  }
  move_integer(s, sub, r, s.sc + sub * s.width + r, type.lowest_sc, type.highest_sc);
  if (type.scales != ScalarType::Scales::affine) return;
  for (int64_t j = first; j < last; ++j) store_lanes(s.direction + j * kLanes, -load_lanes(dmin));
  move_integer(s, sub, r, s.mn + sub * s.width + r, 0, type.highest_sc);
}

PARE_INLINE void improve_sub_lattice(const Span& s, int64_t sub, int64_t r, bool refit) {
  move_points(s, sub, r);
  if (!refit) return;
  const float* d = s.d + sub / s.layout->subs() * s.width + r;
  for (int64_t j = sub * s.layout->sub; j < (sub + 1) * s.layout->sub; ++j) {
    store_lanes(s.direction + j * kLanes, load_lanes(d) * load_lanes(s.level + j * s.width + r));
  }
  move_integer(s, sub, r, s.sc + sub * s.width + r, 1, s.layout->lattice->highest);
}

PARE_INLINE void improve(const Span& s, bool refit) {
  using Scales = ScalarType::Scales;
  const GgufLayout& layout = *s.layout;
  for (int64_t r = 0; r < s.width; r += kLanes) {
    for (int64_t block = 0; block < s.columns / layout.block; ++block) {
      float *d = s.d + block * s.width + r, *dmin = s.dmin + block * s.width + r;
      for (int64_t sub = block * layout.subs(); sub < (block + 1) * layout.subs(); ++sub) {
        if (layout.scalar != nullptr) {
          improve_sub_scalar(s, sub, r, refit);
        } else {
          improve_sub_lattice(s, sub, r, refit);
        }
      }
      if (!refit || (layout.scalar != nullptr && layout.scalar->scales == Scales::power)) continue;
      const int64_t first = block * layout.block, last = first + layout.block;
      for (int64_t j = first; j < last; ++j) {
        store_lanes(s.direction + j * kLanes,
                    load_lanes(s.sc + j / layout.sub * s.width + r) * load_lanes(s.level + j * s.width + r));
      }
      move_float(s, block, r, d, false);
      if (!layout.has_offset()) continue;
      for (int64_t j = first; j < last; ++j) {
        store_lanes(s.direction + j * kLanes, -load_lanes(s.mn + j / layout.sub * s.width + r));
      }
      move_float(s, block, r, dmin, layout.scalar->scales == Scales::affine);
    }
  }
}

// Not inlined into the sweep: one copy for each level.
void improve_span(const Span& span, bool refit) {
  simd::run_at(simd::best_level(), [=](auto) PARE_ALWAYS_INLINE { improve(span, refit); });
}

PARE_INLINE void levels_of(const GgufLayout& layout, const float* q, int64_t width, const float* scale_d,
                           const float* scale_sc, const float* dmin, const float* mn, float* level) {
  for (int64_t r = 0; r < width; r += kLanes) {
    const Lanes scale = load_lanes(scale_d + r) * load_lanes(scale_sc + r);
    const Lanes offset = -(load_lanes(dmin + r) * load_lanes(mn + r));
    const Lanes inverse = scale != 0 ? 1.0f / scale : Lanes{};
    for (int64_t j = 0; j < layout.sub; ++j) {
      const Lanes x = (load_lanes(q + j * width + r) - offset) * inverse;
      store_lanes(level + j * width + r, layout.scalar != nullptr ? nearest_level(*layout.scalar, x) : round_lanes(x));
    }
  }
}

// One strip of rows through all sweeps.
class StripDescent {
 public:
  StripDescent(const Strip& strip, const float* h, const GgufGrid& grid)
      : width_(strip.width), h_(h), in_(grid.columns), layout_(grid.layout) {
    const size_t size = static_cast<size_t>(in_ * width_);
    for (auto* values : {&q, &g_, &level_}) values->resize(size);
    d.resize(static_cast<size_t>(grid.blocks() * width_));
    dmin.resize(d.size());
    sc.resize(static_cast<size_t>(grid.subs() * width_));
    mn.resize(sc.size());
  }

  void run(const std::vector<float>& weights, int sweeps, bool refit) {
    find_levels();
    std::vector<float> difference(q.size());
    for (size_t i = 0; i < q.size(); ++i) difference[i] = weights[i] - q[i];
    std::fill(g_.begin(), g_.end(), 0.0f);
    add_product<float>(g_.data(), width_, in_, width_, in_, row_major(h_, in_), row_major(difference.data(), width_),
                       1.0f, Summation::blocks);
    const int64_t span = std::max<int64_t>(kSpan, layout_.block);
    std::vector<float> direction(static_cast<size_t>(span * kLanes)), product(direction.size());
    for (int sweep = 0; sweep < sweeps; ++sweep) {
      for (int64_t first = 0; first < in_; first += span) {
        const int64_t columns = std::min(span, in_ - first), at = first * width_, count = columns * width_;
        const int64_t block = first / layout_.block * width_, sub = first / layout_.sub * width_;
        std::copy_n(q.data() + at, count, difference.data() + at);
        improve_span({&layout_, columns, width_, h_ + first * in_ + first, in_, q.data() + at, g_.data() + at,
                      level_.data() + at, d.data() + block, dmin.data() + block, sc.data() + sub, mn.data() + sub,
                      direction.data(), product.data()},
                     refit);
        for (int64_t i = at; i < at + count; ++i) difference[i] = q[i] - difference[i];
        push(first, columns, difference.data() + at);
      }
    }
    loss.assign(static_cast<size_t>(width_), 0.0);
    for (int64_t j = 0; j < in_; ++j) {
      for (int64_t r = 0; r < width_; ++r) {
        const int64_t i = j * width_ + r;
        loss[r] += static_cast<double>(weights[i] - q[i]) * static_cast<double>(g_[i]);
      }
    }
  }

  std::vector<float> q, d, dmin, sc, mn;
  std::vector<double> loss;  // of each row, after run()

 private:
  void find_levels() {
    for (int64_t sub = 0; sub < in_ / layout_.sub; ++sub) {
      const int64_t block = sub / layout_.subs() * width_, at = sub * layout_.sub * width_;
      simd::run_at(simd::best_level(),
                   [this, sub, block, at, q_at = q.data() + at, to = level_.data() + at](auto) PARE_ALWAYS_INLINE {
                     levels_of(layout_, q_at, width_, d.data() + block, sc.data() + sub * width_, dmin.data() + block,
                               mn.data() + sub * width_, to);
                   });
    }
  }

  // G outside the span follows the change of q inside it.
  void push(int64_t first, int64_t columns, const float* change) {
    for (const auto& [begin, end] : {std::pair{int64_t{0}, first}, std::pair{first + columns, in_}}) {
      add_product<float>(g_.data() + begin * width_, width_, end - begin, width_, columns,
                         row_major(h_ + begin * in_ + first, in_), row_major(change, width_), -1.0f, Summation::chain);
    }
  }

  int64_t width_;
  const float* h_;
  int64_t in_;
  GgufLayout layout_;
  std::vector<float> g_, level_;
};

// [n, rows] of the grid, the strip's rows of it, padding rows as they are.
void load_rows(const at::Tensor& src, const Strip& strip, std::vector<float>& dst) {
  const int64_t padded = src.size(1);
  for (int64_t i = 0; i < src.size(0); ++i) {
    std::copy_n(src.const_data_ptr<float>() + i * padded + strip.first, strip.width, dst.data() + i * strip.width);
  }
}
void store_rows(const std::vector<float>& src, const Strip& strip, at::Tensor& dst) {
  const int64_t padded = dst.size(1);
  for (int64_t i = 0; i < dst.size(0); ++i) {
    std::copy_n(src.data() + i * strip.width, strip.width, dst.data_ptr<float>() + i * padded + strip.first);
  }
}

}  // namespace

at::Tensor descend(const at::Tensor& target, const at::Tensor& h, int sweeps, bool refit_scales, GgufRounded& rounded) {
  const int64_t out = target.size(0), in = target.size(1);
  PARE_ASSERT(h.is_contiguous() && h.size(0) == in && rounded.grid.columns == in && rounded.grid.rows == out);
  const at::Tensor w = target.contiguous(), values = rounded.values.contiguous();
  GgufRounded better{.grid = rounded.grid, .values = at::empty_like(values)};
  better.grid.d = rounded.grid.d.clone();
  better.grid.dmin = rounded.grid.dmin.clone();
  better.grid.sc = rounded.grid.sc.clone();
  better.grid.mn = rounded.grid.mn.clone();
  at::Tensor losses = at::empty({out}, at::kDouble);
  const std::vector<Strip> strips = cut_rows(out);
  parallel_tasks(static_cast<int64_t>(strips.size()), [&](int64_t i) {
    const Strip& strip = strips[i];
    StripDescent descent(strip, h.const_data_ptr<float>(), rounded.grid);
    std::vector<float> weights(descent.q.size());
    load_strip(w.const_data_ptr<float>(), in, strip, weights.data());
    load_strip(values.const_data_ptr<float>(), in, strip, descent.q.data());
    load_rows(rounded.grid.d, strip, descent.d);
    load_rows(rounded.grid.dmin, strip, descent.dmin);
    load_rows(rounded.grid.sc, strip, descent.sc);
    load_rows(rounded.grid.mn, strip, descent.mn);
    descent.run(weights, sweeps, refit_scales);
    store_strip(descent.q.data(), in, strip, better.values.data_ptr<float>());
    store_rows(descent.d, strip, better.grid.d);
    store_rows(descent.dmin, strip, better.grid.dmin);
    store_rows(descent.sc, strip, better.grid.sc);
    store_rows(descent.mn, strip, better.grid.mn);
    std::copy_n(descent.loss.data(), strip.count, losses.data_ptr<double>() + strip.first);
  });
  rounded = std::move(better);
  return losses;
}

}  // namespace pare
