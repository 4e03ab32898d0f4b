#include "pare/weights/rotary_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pare {
namespace {

// NTK by parts (Peng et al., arXiv:2309.00071): fast frequencies stay, slow ones are divided by the factor, a linear
// ramp between; the ends of the ramp are where a dimension makes beta_fast and beta_slow turns in the original length.
class YarnRamp {
 public:
  YarnRamp() = default;
  YarnRamp(const Rope& rope, int64_t head_dim) {
    const RopeScaling& s = rope.scaling;
    const auto dim = static_cast<double>(head_dim);
    const auto dimension_of = [&](double turns) {
      const auto length = static_cast<double>(s.original_max_positions);
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
    low_ = static_cast<float>(low);
    width_ = static_cast<float>(high - low);
  }
  // 1: as it was, 0: divided by the factor
  float kept(int64_t i) const { return 1 - std::clamp((static_cast<float>(i) - low_) / width_, 0.0f, 1.0f); }

 private:
  float low_ = 0, width_ = 1;
};

float llama3_frequency(const RopeScaling& s, float frequency) {
  const auto old_length = static_cast<float>(s.original_max_positions), factor = static_cast<float>(s.factor);
  const auto low = static_cast<float>(s.low_freq_factor), high = static_cast<float>(s.high_freq_factor);
  const float wavelength = static_cast<float>(2 * std::numbers::pi) / frequency;
  if (wavelength > old_length / low) return frequency / factor;
  if (wavelength < old_length / high) return frequency;
  const float smooth = (old_length / wavelength - low) / (high - low);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

}  // namespace

std::vector<float> rotary_frequencies(const Rope& rope, int64_t head_dim) {
  const RopeScaling& s = rope.scaling;
  const auto factor = static_cast<float>(s.factor);
  const YarnRamp ramp = s.type == RopeScaling::Type::yarn ? YarnRamp(rope, head_dim) : YarnRamp();
  std::vector<float> frequencies;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const auto power = static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent)));
    const float plain = 1.0f / power;
    switch (s.type) {
      case RopeScaling::Type::none:
        frequencies.push_back(plain);
        break;
      case RopeScaling::Type::linear:
        frequencies.push_back(plain / factor);
        break;
      case RopeScaling::Type::llama3:
        frequencies.push_back(llama3_frequency(s, plain));
        break;
      case RopeScaling::Type::yarn:
        frequencies.push_back(1.0f / (factor * power) * (1 - ramp.kept(i)) + plain * ramp.kept(i));
        break;
    }
  }
  return frequencies;
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

}  // namespace pare
