#include "pare/prune/improve.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/simd.h"
#include "pare/curvature/inverse_factor.h"
#include "pare/curvature/matmul.h"
#include "pare/curvature/parallel_tasks.h"
#include "pare/prune/select.h"

namespace pare {

namespace {

constexpr int64_t kRowsATask = 96;
constexpr int kLanes = 16;

// Sums in 16 lanes, of f32 over 256 values, then of f64: fixed order, and vectors on every CPU.
struct LaneSum {
  double total = 0;
  template <class Term>
  PARE_INLINE void add(int64_t count, const Term& term) {
    for (int64_t begin = 0; begin < count; begin += 256) {
      const int64_t end = std::min<int64_t>(count, begin + 256);
      float lanes[kLanes] = {};
      int64_t i = begin;
      for (; i + kLanes <= end; i += kLanes) {
        for (int l = 0; l < kLanes; ++l) lanes[l] += term(i + l);
      }
      for (; i < end; ++i) lanes[(i - begin) % kLanes] += term(i);
      for (const float lane : lanes) total += static_cast<double>(lane);
    }
  }
};

// One row's part of a step of conjugate gradients. All [in].
struct Row {
  int64_t in;
  const float* w;      // the weight
  float* q;            // kept values
  float* r;            // (w - q) H
  float* p;            // direction, 0 off the mask
  const float* hp;     // p H
  const float* scale;  // 1 / H[j,j] on the mask, 0 off it
  double rz;           // r^2 scale, summed
};

PARE_INLINE double sum_of_squares(const Row& row) {
  LaneSum sum;
  sum.add(row.in, [&](int64_t j) { return row.r[j] * row.r[j] * row.scale[j]; });
  return sum.total;
}

PARE_INLINE void start_row(Row& row) {
  for (int64_t j = 0; j < row.in; ++j) row.p[j] = row.r[j] * row.scale[j];
  row.rz = sum_of_squares(row);
}

PARE_INLINE void step_row(Row& row) {
  LaneSum curvature;
  curvature.add(row.in, [&](int64_t j) { return row.p[j] * row.hp[j]; });
  const bool moves = curvature.total > 0 && row.rz > 0;
  const float length = moves ? static_cast<float>(row.rz / curvature.total) : 0.0f;
  for (int64_t j = 0; j < row.in; ++j) row.q[j] += length * row.p[j];
  for (int64_t j = 0; j < row.in; ++j) row.r[j] -= length * row.hp[j];
  const double before = row.rz;
  row.rz = sum_of_squares(row);
  const float turn = moves ? static_cast<float>(row.rz / before) : 0.0f;
  for (int64_t j = 0; j < row.in; ++j) row.p[j] = row.r[j] * row.scale[j] + turn * row.p[j];
}

PARE_INLINE double loss_of_row(const Row& row) {
  LaneSum sum;
  sum.add(row.in, [&](int64_t j) { return (row.w[j] - row.q[j]) * row.r[j]; });
  return sum.total;
}

// sqrt(c) of the header.
std::vector<float> exchange_rates(const at::Tensor& h) {
  const at::Tensor diagonal = h.diagonal().to(at::kDouble);
  const at::Tensor scale = diagonal.rsqrt().to(at::kFloat);
  at::Tensor normed = h * scale.unsqueeze(0) * scale.unsqueeze(1);
  normed.diagonal().fill_(1);
  const InverseFactor factor = inverse_factor(normed, 1.0, at::Tensor(), "improve");
  PARE_ASSERT(!factor.failed);  // all its eigenvalues are at least 1
  const int64_t in = h.size(0);
  std::vector<double> inverse(static_cast<size_t>(in));
  const float* u = factor.u.const_data_ptr<float>();
  for (int64_t i = 0; i < in; ++i) {
    for (int64_t j = i; j < in; ++j) inverse[j] += static_cast<double>(u[i * in + j]) * u[i * in + j];
  }
  std::vector<float> rates(static_cast<size_t>(in));
  const double* d = diagonal.const_data_ptr<double>();
  for (int64_t j = 0; j < in; ++j) {
    rates[j] = static_cast<float>(std::sqrt(d[j] * std::clamp(1 / inverse[j] - 1, 1e-6, 1.0)));
  }
  return rates;
}

// Some rows of the problem, one thread's work.
class RowsAtOnce {
 public:
  RowsAtOnce(int64_t rows, int64_t in, const float* weight, const float* h, const std::vector<float>& rates,
             const Pattern& pattern)
      : rows_(rows),
        in_(in),
        size_(static_cast<size_t>(rows * in)),
        weight_(weight),
        h_(h),
        rates_(rates),
        pattern_(pattern),
        p_(size_),
        hp_(size_),
        scale_(size_),
        rz_(rows) {}

  struct State {
    std::vector<float> q, r;
    std::vector<uint8_t> keep;
    std::vector<double> loss;  // of each row
  };

  State begin(const float* values, const uint8_t* keep) {
    State s{.q = {values, values + size_},
            .r = std::vector<float>(size_),
            .keep = {keep, keep + size_},
            .loss = std::vector<double>(static_cast<size_t>(rows_))};
    for (size_t i = 0; i < size_; ++i) p_[i] = weight_[i] - s.q[i];
    add_product(s.r.data(), in_, rows_, in_, in_, row_major(p_.data(), in_), row_major(h_, in_), 1.0f,
                Summation::blocks);
    measure(s);
    return s;
  }

  void solve(State& s, int steps) {
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t j = 0; j < in_; ++j) {
        scale_[r * in_ + j] = s.keep[r * in_ + j] ? 1 / h_[j * in_ + j] : 0.0f;
      }
      Row row = row_of(s, r);
      simd::run_at(level_, [&row](auto) PARE_ALWAYS_INLINE { start_row(row); });
      rz_[r] = row.rz;
    }
    for (int step = 0; step < steps; ++step) {
      std::fill(hp_.begin(), hp_.end(), 0.0f);
      add_product(hp_.data(), in_, rows_, in_, in_, row_major(p_.data(), in_), row_major(h_, in_), 1.0f,
                  Summation::blocks);
      for (int64_t r = 0; r < rows_; ++r) {
        Row row = row_of(s, r);
        simd::run_at(level_, [&row](auto) PARE_ALWAYS_INLINE { step_row(row); });
        rz_[r] = row.rz;
      }
    }
    measure(s);
  }

  // Exchanges up to the given share of what would gain, row by row.
  State exchanged(const State& s, const std::vector<float>& share) {
    State next = s;
    std::vector<float>& jump = p_;  // of q
    std::fill(jump.begin(), jump.end(), 0.0f);
    for (int64_t r = 0; r < rows_; ++r) {
      worth_.resize(static_cast<size_t>(in_));
      const int64_t at = r * in_;
      for (int64_t j = 0; j < in_; ++j) {
        worth_[j] = s.keep[at + j] ? std::abs(s.q[at + j]) * rates_[j] : std::abs(s.r[at + j]) / rates_[j];
      }
      swaps_.clear();
      if (pattern_.structured()) {
        find_in_groups(s.keep.data() + at);
      } else {
        find_in_row(s.keep.data() + at);
      }
      limit(share[r]);
      for (const Swap& swap : swaps_) {
        next.keep[at + swap.goes] = 0;
        jump[at + swap.goes] = -s.q[at + swap.goes];
        next.keep[at + swap.comes] = 1;
        jump[at + swap.comes] = s.r[at + swap.comes] / (rates_[swap.comes] * rates_[swap.comes]);
      }
    }
    for (size_t i = 0; i < size_; ++i) next.q[i] += jump[i];
    add_product(next.r.data(), in_, rows_, in_, in_, row_major(jump.data(), in_), row_major(h_, in_), -1.0f,
                Summation::blocks);
    return next;
  }

  // The rows in which `next` is better; the others halve their share.
  void accept(const State& next, State& s, std::vector<float>& share) const {
    for (int64_t r = 0; r < rows_; ++r) {
      if (!(next.loss[r] < s.loss[r])) {
        share[r] /= 2;
        continue;
      }
      const int64_t from = r * in_, to = from + in_;
      std::copy(next.q.begin() + from, next.q.begin() + to, s.q.begin() + from);
      std::copy(next.r.begin() + from, next.r.begin() + to, s.r.begin() + from);
      std::copy(next.keep.begin() + from, next.keep.begin() + to, s.keep.begin() + from);
      s.loss[r] = next.loss[r];
    }
  }

 private:
  struct Swap {
    float gain;
    int64_t goes, comes;
  };

  Row row_of(State& s, int64_t r) {
    const int64_t at = r * in_;
    return {.in = in_,
            .w = weight_ + at,
            .q = s.q.data() + at,
            .r = s.r.data() + at,
            .p = p_.data() + at,
            .hp = hp_.data() + at,
            .scale = scale_.data() + at,
            .rz = rz_[r]};
  }

  void measure(State& s) {
    for (int64_t r = 0; r < rows_; ++r) {
      const Row row = row_of(s, r);
      s.loss[r] = simd::run_at(level_, [&row](auto) PARE_ALWAYS_INLINE { return loss_of_row(row); });
    }
  }

  void find_in_row(const uint8_t* keep) {
    best_.resize(static_cast<size_t>(in_));
    const int64_t kept = std::count(keep, keep + in_, uint8_t{1});
    drop_smallest({worth_.data(), 1, in_, in_, best_.data(), in_}, in_ - kept);
    std::vector<int64_t> goes, comes;
    for (int64_t j = 0; j < in_; ++j) {
      if (keep[j] && !best_[j]) goes.push_back(j);
      if (!keep[j] && best_[j]) comes.push_back(j);
    }
    const auto by_worth = [&](int64_t a, int64_t b) {
      return worth_[a] < worth_[b] || (worth_[a] == worth_[b] && a < b);
    };
    std::sort(goes.begin(), goes.end(), by_worth);
    std::sort(comes.begin(), comes.end(), [&](int64_t a, int64_t b) { return by_worth(b, a); });
    for (size_t i = 0; i < goes.size(); ++i) add_swap(goes[i], comes[i]);
  }

  void find_in_groups(const uint8_t* keep) {
    for (int64_t g = 0; g < in_; g += pattern_.m) {
      int64_t goes = -1, comes = -1;
      for (int64_t j = g; j < g + pattern_.m; ++j) {
        if (keep[j] && (goes < 0 || worth_[j] < worth_[goes])) goes = j;
        if (!keep[j] && (comes < 0 || worth_[j] > worth_[comes])) comes = j;
      }
      if (goes >= 0 && comes >= 0 && worth_[comes] > worth_[goes]) add_swap(goes, comes);
    }
  }

  void add_swap(int64_t goes, int64_t comes) {
    swaps_.push_back({worth_[comes] * worth_[comes] - worth_[goes] * worth_[goes], goes, comes});
  }

  void limit(float share) {
    if (share >= 1) return;
    const size_t count = static_cast<size_t>(std::ceil(share * static_cast<float>(swaps_.size())));
    std::sort(swaps_.begin(), swaps_.end(),
              [](const Swap& a, const Swap& b) { return a.gain > b.gain || (a.gain == b.gain && a.goes < b.goes); });
    swaps_.resize(count);
  }

  int64_t rows_, in_;
  size_t size_;
  const float *weight_, *h_;
  const std::vector<float>& rates_;
  const Pattern& pattern_;
  const simd::Level level_ = simd::best_level();
  std::vector<float> p_, hp_, scale_;
  std::vector<double> rz_;
  std::vector<float> worth_;
  std::vector<uint8_t> best_;
  std::vector<Swap> swaps_;
};

}  // namespace

void improve(const at::Tensor& weight, const at::Tensor& h, const Pattern& pattern, const ImproveOptions& options,
             at::Tensor& values, at::Tensor& keep) {
  const int64_t out = weight.size(0), in = weight.size(1);
  PARE_ASSERT(weight.is_contiguous() && h.is_contiguous() && values.is_contiguous() && keep.is_contiguous());
  if (options.steps <= 0 || out == 0) return;
  const std::vector<float> rates = options.rounds > 0 ? exchange_rates(h) : std::vector<float>();
  const float* curvature = h.const_data_ptr<float>();
  parallel_tasks((out + kRowsATask - 1) / kRowsATask, [&](int64_t task) {
    const int64_t first = task * kRowsATask, rows = std::min(kRowsATask, out - first);
    float* q = values.data_ptr<float>() + first * in;
    uint8_t* flags = keep.data_ptr<uint8_t>() + first * in;
    RowsAtOnce part(rows, in, weight.const_data_ptr<float>() + first * in, curvature, rates, pattern);
    RowsAtOnce::State state = part.begin(q, flags);
    std::vector<float> share(static_cast<size_t>(rows), 1.0f);
    const auto try_solving = [&](RowsAtOnce::State next) {
      part.solve(next, options.steps);
      part.accept(next, state, share);
    };
    try_solving(state);
    std::fill(share.begin(), share.end(), 1.0f);
    for (int round = 0; round < options.rounds; ++round) try_solving(part.exchanged(state, share));
    if (options.rounds > 0) try_solving(state);
    std::copy(state.q.begin(), state.q.end(), q);
    std::copy(state.keep.begin(), state.keep.end(), flags);
  });
}

}  // namespace pare
