#include "pare/nn/rotary.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <numbers>

#include "pare/base/error.h"

namespace pare {
namespace {

// NTK by parts (Peng et al., arXiv:2309.00071): fast frequencies stay, slow ones are divided by the factor, a linear
// ramp between; the ends of the ramp are where a dimension makes beta_fast and beta_slow turns in the original length.
at::Tensor yarn_frequencies(const Rope& rope, const at::Tensor& powers, int64_t head_dim) {
  const RopeScaling& s = rope.scaling;
  const double dim = static_cast<double>(head_dim);
  const auto dimension_of = [&](double turns) {
    const double length = static_cast<double>(s.original_max_positions);
    return dim * std::log(length / (turns * 2 * std::numbers::pi)) / (2 * std::log(rope.theta));
  };
  double low = dimension_of(s.beta_fast), high = dimension_of(s.beta_slow);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  const at::Tensor ramp = at::arange(head_dim / 2, at::kFloat).sub(low).div(high - low).clamp(0, 1);
  const at::Tensor keep = 1 - ramp;
  const at::Tensor interpolated = 1.0 / (s.factor * powers), extrapolated = 1.0 / powers;
  return interpolated * (1 - keep) + extrapolated * keep;
}

at::Tensor llama3_frequencies(const RopeScaling& s, const at::Tensor& frequencies) {
  const double old_length = static_cast<double>(s.original_max_positions);
  const at::Tensor wavelength = 2 * std::numbers::pi / frequencies;
  const double longest = old_length / s.low_freq_factor, shortest = old_length / s.high_freq_factor;
  const at::Tensor slowed = at::where(wavelength > longest, frequencies / s.factor, frequencies);
  const at::Tensor smooth = (old_length / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  const at::Tensor between = (1 - smooth) * slowed / s.factor + smooth * slowed;
  const at::Tensor is_between = (wavelength >= shortest).logical_and(wavelength <= longest);
  return at::where(is_between, between, slowed);
}

template <class T>
void rotate_token(T* x, const float* cos, const float* sin, int64_t heads, int64_t half) {
  for (int64_t head = 0; head < heads; ++head) {
    T* first = x + head * 2 * half;
    T* second = first + half;
    for (int64_t i = 0; i < half; ++i) {
      const float a = static_cast<float>(first[i]), b = static_cast<float>(second[i]);
      first[i] = static_cast<T>(a * cos[i] - b * sin[i]);
      second[i] = static_cast<T>(b * cos[i] + a * sin[i]);
    }
  }
}

}  // namespace

at::Tensor rotary_frequencies(const Rope& rope, int64_t head_dim) {
  const at::Tensor exponents = at::arange(0, head_dim, 2, at::kFloat) / static_cast<double>(head_dim);
  const at::Tensor powers = at::pow(at::Scalar(rope.theta), exponents);
  switch (rope.scaling.type) {
    case RopeScaling::Type::none:
      return 1.0 / powers;
    case RopeScaling::Type::linear:
      return 1.0 / powers / rope.scaling.factor;
    case RopeScaling::Type::llama3:
      return llama3_frequencies(rope.scaling, 1.0 / powers);
    case RopeScaling::Type::yarn:
      return yarn_frequencies(rope, powers, head_dim);
  }
  PARE_ASSERT(false);
}

double rotary_attention_factor(const RopeScaling& scaling) {
  if (scaling.type != RopeScaling::Type::yarn) return 1;
  if (scaling.attention_factor) return *scaling.attention_factor;
  const auto factor_for = [&](double mscale) {
    return scaling.factor <= 1 ? 1.0 : 0.1 * mscale * std::log(scaling.factor) + 1.0;
  };
  if (scaling.mscale != 0 && scaling.mscale_all_dim != 0) {
    return factor_for(scaling.mscale) / factor_for(scaling.mscale_all_dim);
  }
  return factor_for(1);
}

RotaryTable rotary_table(const Rope& rope, int64_t head_dim, int64_t length) {
  const at::Tensor angles = at::arange(length, at::kFloat).unsqueeze(1) * rotary_frequencies(rope, head_dim);
  const double factor = rotary_attention_factor(rope.scaling);
  return {.cos = (angles.cos() * factor).contiguous(), .sin = (angles.sin() * factor).contiguous()};
}

void rotate_(at::Tensor x, const RotaryTable& table, int64_t first) {
  PARE_ASSERT(x.dim() == 3 && x.is_contiguous() && table.cos.size(1) * 2 == x.size(2));
  const int64_t length = table.cos.size(0), heads = x.size(1), half = x.size(2) / 2;
  const float* cos = table.cos.const_data_ptr<float>();
  const float* sin = table.sin.const_data_ptr<float>();
  at::parallel_for(0, x.size(0), 16, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; ++token) {
      const int64_t turn = (first + token) % length * half, place = token * heads * 2 * half;
      if (x.scalar_type() == at::kFloat) {
        rotate_token(x.mutable_data_ptr<float>() + place, cos + turn, sin + turn, heads, half);
      } else {
        rotate_token(x.mutable_data_ptr<at::BFloat16>() + place, cos + turn, sin + turn, heads, half);
      }
    }
  });
}

}  // namespace pare
