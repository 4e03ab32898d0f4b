#include "pare/weights/rope_freqs.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "pare/base/error.h"

namespace pare {
namespace {

double frequency(double theta, size_t i, size_t half) {
  return std::pow(theta, -static_cast<double>(i) / static_cast<double>(half));
}

double divisor(const RopeScaling& s, double frequency) {
  const double length = 2 * std::numbers::pi / frequency, old = static_cast<double>(s.original_max_positions);
  if (length < old / s.high_freq_factor) return 1;
  if (length > old / s.low_freq_factor) return s.factor;
  const double t = (old / length - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return 1 / ((1 - t) / s.factor + t);
}

// Files are written from f32 frequencies, so the divisors of the band in between are off by some 1e-6.
bool makes(const RopeScaling& scaling, std::span<const float> divisors, double theta) {
  for (size_t i = 0; i < divisors.size(); ++i) {
    const double wanted = divisors[i], made = divisor(scaling, frequency(theta, i, divisors.size()));
    if (!(std::abs(made - wanted) <= 1e-4 * wanted)) return false;
  }
  return true;
}

// t = a f + b over the frequencies in between; nothing with fewer than two of them.
std::optional<RopeScaling> fit_band(std::span<const float> divisors, double theta, double factor) {
  double n = 0, sf = 0, st = 0, sff = 0, sft = 0;
  for (size_t i = 0; i < divisors.size(); ++i) {
    const double d = divisors[i];
    if (d <= 1 || d >= factor * (1 - 1e-6)) continue;
    const double f = frequency(theta, i, divisors.size()), t = (1 / d - 1 / factor) / (1 - 1 / factor);
    n += 1;
    sf += f;
    st += t;
    sff += f * f;
    sft += f * t;
  }
  const double spread = n * sff - sf * sf;
  if (n < 2 || !(spread > 0)) return std::nullopt;
  const double a = (n * sft - sf * st) / spread, b = (st - a * sf) / n;
  if (!(a > 0) || !(b < 0)) return std::nullopt;
  RopeScaling scaling;
  scaling.type = RopeScaling::Type::llama3;
  scaling.factor = factor;
  scaling.low_freq_factor = 1;
  scaling.high_freq_factor = 1 - 1 / b;                    // b = -lo / (hi - lo)
  const double old = a * 2 * std::numbers::pi * (-1 / b);  // a = old / (2 pi (hi - lo))
  if (!(old >= 1) || !(old <= 0x1p31)) return std::nullopt;
  scaling.original_max_positions = std::llround(old);
  const double round_high = std::round(scaling.high_freq_factor);
  if (std::abs(round_high - scaling.high_freq_factor) < 1e-3) scaling.high_freq_factor = round_high;
  return scaling;
}

// With one frequency in between or none (narrow heads), hi = 4 as usual: the one gives `old`; without it any `old` will
// do whose band lies between the last 1 and the first `factor`.
std::optional<RopeScaling> fit_usual_band(std::span<const float> divisors, double theta, double factor) {
  RopeScaling scaling;
  scaling.type = RopeScaling::Type::llama3;
  scaling.factor = factor;
  double shortest = 0, longest = 0;  // wave lengths around the band
  for (size_t i = 0; i < divisors.size(); ++i) {
    const double d = divisors[i], length = 2 * std::numbers::pi / frequency(theta, i, divisors.size());
    if (d <= 1) {
      shortest = length;
    } else if (d >= factor * (1 - 1e-6)) {
      longest = longest == 0 ? length : longest;
    } else {
      const double t = (1 / d - 1 / factor) / (1 - 1 / factor);
      scaling.original_max_positions = std::llround(std::min(length * (3 * t + 1), 0x1p31));
      return scaling;
    }
  }
  scaling.original_max_positions =
      std::llround(std::min(shortest == 0 ? longest / 2 : std::sqrt(4 * shortest * longest), 0x1p31));
  if (scaling.original_max_positions < 1) return std::nullopt;
  return scaling;
}

}  // namespace

std::vector<float> rope_divisors(const RopeScaling& scaling, double theta, int64_t head_dim) {
  PARE_ASSERT(scaling.type == RopeScaling::Type::llama3 && head_dim > 0 && head_dim % 2 == 0);
  std::vector<float> divisors(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < divisors.size(); ++i) {
    divisors[i] = static_cast<float>(divisor(scaling, frequency(theta, i, divisors.size())));
  }
  return divisors;
}

std::optional<RopeScaling> fit_llama3(std::span<const float> divisors, double theta) {
  if (divisors.empty() || !(theta > 1)) return std::nullopt;
  double factor = 1;
  for (float d : divisors) {
    if (!(d >= 1) || !std::isfinite(d)) return std::nullopt;
    factor = std::max(factor, static_cast<double>(d));
  }
  if (factor == 1) return RopeScaling{};
  // Published values first: where the band holds few frequencies many answers make the same divisors.
  for (int64_t old : {8192, 4096, 2048, 16384, 32768, 65536, 131072}) {
    RopeScaling usual;
    usual.type = RopeScaling::Type::llama3;
    usual.factor = factor;
    usual.original_max_positions = old;
    if (makes(usual, divisors, theta)) return usual;
  }
  for (const auto& fitted : {fit_band(divisors, theta, factor), fit_usual_band(divisors, theta, factor)}) {
    if (fitted && makes(*fitted, divisors, theta)) return fitted;
  }
  return std::nullopt;
}

}  // namespace pare
