#include "pare/quantize/descent.h"

#include <algorithm>
#include <vector>

#include "pare/base/error.h"
#include "pare/curvature/matmul.h"
#include "pare/curvature/parallel_tasks.h"
#include "pare/quantize/grid_fit.h"
#include "pare/quantize/grid_lanes.h"
#include "pare/quantize/strips.h"

namespace pare {

namespace {

constexpr int64_t kBlock = 128;      // columns; whole groups where they are smaller
constexpr int64_t kWideGroup = 256;  // groups above this have their scales refitted apart, by products

// Columns of a strip that one task of the kernel improves, all pointers at the first of them.
struct Block {
  int64_t columns, group;  // group: columns that share a scale; >= columns when the block lies inside one
  int64_t width;           // rows of the strip
  const float* h;          // the block of H on the diagonal, rows h_stride apart
  int64_t h_stride;
  float* q;      // [columns][width]
  float* g;      // [columns][width], G
  float* scale;  // [groups of the block][width]
  const float* zero;
  float* steps;    // [group][16], scratch: the integers c
  float* product;  // [columns][16], scratch: H c
};

// q_j moves to its best point, G of the block follows.
PARE_INLINE void move_code(const Block& b, int64_t j, int64_t r, const Lanes& scale, const Lanes& zero, float maxq) {
  const float* h = b.h + j * b.h_stride;
  const float diagonal = h[j];
  if (!(diagonal > 0)) return;  // a dead input
  float* place = b.q + j * b.width + r;
  const Lanes old = load_lanes(place), slope = load_lanes(b.g + j * b.width + r);
  const Lanes point = scale * steps_of((old + slope * (1 / diagonal)) / scale, zero, maxq);
  const Lanes change = point - old;
  const LaneBits better = change * (2 * slope - change * diagonal) > 0;
  const Lanes moved = better ? change : Lanes{};
  store_lanes(place, better ? point : old);
  for (int64_t k = 0; k < b.columns; ++k) {
    float* g = b.g + k * b.width + r;
    store_lanes(g, load_lanes(g) - moved * h[k]);
  }
}

// The least-squares scale of the columns first .. last - 1.
PARE_INLINE void move_scale(const Block& b, int64_t first, int64_t last, int64_t r, const ScaleRounding& rounding,
                            float* scale_place) {
  const Lanes scale = load_lanes(scale_place);
  Lanes slope = {}, curve = {};
  for (int64_t j = first; j < last; ++j) {
    const Lanes c = round_lanes(load_lanes(b.q + j * b.width + r) / scale);
    store_lanes(b.steps + (j - first) * kLanes, c);
    slope += c * load_lanes(b.g + j * b.width + r);
  }
  for (int64_t k = 0; k < b.columns; ++k) {
    Lanes sum = {};
    for (int64_t j = first; j < last; ++j) {
      sum += load_lanes(b.steps + (j - first) * kLanes) * b.h[k * b.h_stride + j];
    }
    store_lanes(b.product + k * kLanes, sum);
  }
  for (int64_t j = first; j < last; ++j) {
    curve += load_lanes(b.steps + (j - first) * kLanes) * load_lanes(b.product + j * kLanes);
  }
  const Lanes ideal = scale + slope / (curve > 0 ? curve : all_lanes(1.0f));
  const Lanes rounded = round_scale(ideal > 0 ? ideal : scale, rounding);
  const Lanes change = rounded - scale;
  const LaneBits better = (change * (2 * slope - change * curve) > 0) & (curve > 0);
  const Lanes moved = better ? change : Lanes{};
  const Lanes chosen = better ? rounded : scale;
  store_lanes(scale_place, chosen);
  for (int64_t j = first; j < last; ++j) {
    store_lanes(b.q + j * b.width + r, chosen * load_lanes(b.steps + (j - first) * kLanes));
  }
  for (int64_t k = 0; k < b.columns; ++k) {
    float* g = b.g + k * b.width + r;
    store_lanes(g, load_lanes(g) - moved * load_lanes(b.product + k * kLanes));
  }
}

PARE_INLINE void improve(const Block& b, const GridShape& shape, bool refit) {
  for (int64_t r = 0; r < b.width; r += kLanes) {
    for (int64_t first = 0, group = 0; first < b.columns; first += b.group, ++group) {
      const int64_t last = first + b.group < b.columns ? first + b.group : b.columns;
      float* scale = b.scale + group * b.width + r;
      const Lanes zero = load_lanes(b.zero + group * b.width + r);
      const Lanes s = load_lanes(scale);
      for (int64_t j = first; j < last; ++j) move_code(b, j, r, s, zero, shape.maxq);
      if (refit) move_scale(b, first, last, r, shape.rounding, scale);
    }
  }
}

// Not inlined into the sweep: one copy for each level.
void improve_block(const Block& b, const GridShape& shape, bool refit) {
  simd::run_at(simd::best_level(), [=](auto) PARE_ALWAYS_INLINE { improve(b, shape, refit); });
}

struct Span {
  int64_t first, count, group;  // columns; the first one's group
};

std::vector<Span> cut_columns(int64_t in, int64_t group) {
  const int64_t step = group <= kWideGroup ? std::max<int64_t>(1, kBlock / group) * group : kBlock;
  std::vector<Span> spans;
  for (int64_t first = 0; first < in;) {
    int64_t last = std::min(first + step, in);
    if (group > kWideGroup) last = std::min(last, (first / group + 1) * group);  // never across two groups
    spans.push_back({first, last - first, first / group});
    first = last;
  }
  return spans;
}

// One strip of rows through all sweeps.
class StripDescent {
 public:
  StripDescent(const Strip& strip, const float* h, int64_t in, const GridShape& shape, int64_t group)
      : width_(strip.width), h_(h), in_(in), shape_(shape), group_(group), groups_((in + group - 1) / group) {
    const size_t size = static_cast<size_t>(in * width_);
    q.resize(size);
    g_.resize(size);
    scale.resize(static_cast<size_t>(groups_ * width_));
    zero.resize(scale.size());
  }

  void run(const std::vector<float>& weights, int sweeps, bool refit) {
    std::vector<float> difference(q.size());
    for (size_t i = 0; i < q.size(); ++i) difference[i] = weights[i] - q[i];
    std::fill(g_.begin(), g_.end(), 0.0f);
    add_product<float>(g_.data(), width_, in_, width_, in_, row_major(h_, in_), row_major(difference.data(), width_),
                       1.0f, Summation::blocks);
    const bool wide = group_ > kWideGroup;
    std::vector<float> steps(static_cast<size_t>(std::min(group_, kWideGroup) * kLanes));
    std::vector<float> product(static_cast<size_t>(std::max(kBlock, kWideGroup) * kLanes));
    const std::vector<Span> spans = cut_columns(in_, group_);
    for (int sweep = 0; sweep < sweeps; ++sweep) {
      for (const Span& span : spans) {
        const int64_t at = span.first * width_, count = span.count * width_;
        std::copy_n(q.data() + at, count, difference.data() + at);
        improve_block(
            {span.count, group_, width_, h_ + span.first * in_ + span.first, in_, q.data() + at, g_.data() + at,
             scale.data() + span.group * width_, zero.data() + span.group * width_, steps.data(), product.data()},
            shape_, refit && !wide);
        for (int64_t i = at; i < at + count; ++i) difference[i] = q[i] - difference[i];
        push(span, difference.data() + at);
      }
      if (refit && wide) move_wide_scales();
    }
    loss.assign(static_cast<size_t>(width_), 0.0);
    for (int64_t j = 0; j < in_; ++j) {
      for (int64_t r = 0; r < width_; ++r) {
        const int64_t i = j * width_ + r;
        loss[r] += static_cast<double>(weights[i] - q[i]) * static_cast<double>(g_[i]);
      }
    }
  }

  std::vector<float> q, scale, zero;
  std::vector<double> loss;  // of each row, after run()

 private:
  // G outside the span follows the change of q inside it.
  void push(const Span& span, const float* change) {
    const int64_t last = span.first + span.count;
    for (const auto& [begin, end] : {std::pair{int64_t{0}, span.first}, std::pair{last, in_}}) {
      add_product<float>(g_.data() + begin * width_, width_, end - begin, width_, span.count,
                         row_major(h_ + begin * in_ + span.first, in_), row_major(change, width_), -1.0f,
                         Summation::chain);
    }
  }

  void move_wide_scales() {
    std::vector<float> steps, product(q.size());
    for (int64_t group = 0; group < groups_; ++group) {
      const int64_t first = group * group_, count = std::min(group_, in_ - first);
      steps.resize(static_cast<size_t>(count * width_));
      float* s = scale.data() + group * width_;
      std::vector<double> slope(static_cast<size_t>(width_)), curve(slope.size());
      std::fill(product.begin(), product.end(), 0.0f);
      for (int64_t j = 0; j < count; ++j) {
        for (int64_t r = 0; r < width_; ++r) {
          const float c = std::nearbyint(q[(first + j) * width_ + r] / s[r]);
          steps[j * width_ + r] = c;
          slope[r] += static_cast<double>(c) * g_[(first + j) * width_ + r];
        }
      }
      add_product<float>(product.data(), width_, in_, width_, count, row_major(h_ + first, in_),
                         row_major(steps.data(), width_), 1.0f, Summation::blocks);
      for (int64_t j = 0; j < count; ++j) {
        for (int64_t r = 0; r < width_; ++r) {
          curve[r] += static_cast<double>(steps[j * width_ + r]) * product[(first + j) * width_ + r];
        }
      }
      std::vector<float> change(static_cast<size_t>(width_));
      for (int64_t r = 0; r < width_; r += kLanes) {
        Lanes ideal;
        for (int lane = 0; lane < kLanes; ++lane) {
          const double step = curve[r + lane] > 0 ? slope[r + lane] / curve[r + lane] : 0;
          const float moved = s[r + lane] + static_cast<float>(step);
          ideal[lane] = moved > 0 ? moved : s[r + lane];
        }
        const Lanes rounded = round_scale(ideal, shape_.rounding);
        for (int lane = 0; lane < kLanes; ++lane) {
          const double step = static_cast<double>(rounded[lane]) - s[r + lane];
          if (step * (2 * slope[r + lane] - step * curve[r + lane]) <= 0) continue;
          change[r + lane] = static_cast<float>(step);
          s[r + lane] = rounded[lane];
        }
      }
      for (int64_t j = 0; j < count; ++j) {
        for (int64_t r = 0; r < width_; ++r) q[(first + j) * width_ + r] = s[r] * steps[j * width_ + r];
      }
      for (int64_t j = 0; j < in_; ++j) {
        for (int64_t r = 0; r < width_; ++r) g_[j * width_ + r] -= change[r] * product[j * width_ + r];
      }
    }
  }

  int64_t width_;
  const float* h_;
  int64_t in_;
  const GridShape& shape_;
  int64_t group_, groups_;
  std::vector<float> g_;
};

}  // namespace

at::Tensor descend(const at::Tensor& target, const at::Tensor& h, int sweeps, bool refit_scales,
                   const GridOptions& options, Rounded& rounded) {
  const int64_t out = target.size(0), in = target.size(1), group = rounded.grid.group;
  const GridShape shape(options);
  PARE_ASSERT(h.is_contiguous() && h.size(0) == in && shape.maxq == static_cast<float>(rounded.grid.maxq));
  const at::Tensor w = target.contiguous();
  at::Tensor values = rounded.values.contiguous();
  at::Tensor scale = rounded.grid.scale.contiguous(), zero = rounded.grid.zero.contiguous();
  Rounded better{.grid = {at::empty_like(scale), zero, rounded.grid.maxq, group}, .values = at::empty_like(values)};
  at::Tensor losses = at::empty({out}, at::kDouble);
  const std::vector<Strip> strips = cut_rows(out);
  parallel_tasks(static_cast<int64_t>(strips.size()), [&](int64_t i) {
    const Strip& strip = strips[i];
    StripDescent descent(strip, h.const_data_ptr<float>(), in, shape, group);
    std::vector<float> weights(descent.q.size());
    load_strip(w.const_data_ptr<float>(), in, strip, weights.data());
    load_strip(values.const_data_ptr<float>(), in, strip, descent.q.data());
    load_strip(scale.const_data_ptr<float>(), scale.size(1), strip, descent.scale.data());
    load_strip(zero.const_data_ptr<float>(), zero.size(1), strip, descent.zero.data());
    for (int64_t r = strip.count; r < strip.width; ++r) {  // rows that fill the last vector: any scale but 0
      for (int64_t k = 0; k < scale.size(1); ++k) descent.scale[k * strip.width + r] = 1;
    }
    descent.run(weights, sweeps, refit_scales);
    store_strip(descent.q.data(), in, strip, better.values.data_ptr<float>());
    store_strip(descent.scale.data(), scale.size(1), strip, better.grid.scale.data_ptr<float>());
    std::copy_n(descent.loss.data(), strip.count, losses.data_ptr<double>() + strip.first);
  });
  rounded = std::move(better);
  return losses;
}

}  // namespace pare
