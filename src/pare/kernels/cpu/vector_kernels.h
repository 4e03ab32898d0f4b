// Norms, activations, rotations: short work over one token's numbers; over an instruction set `I` as panel_kernels.h.
#pragma once

#include "pare/kernels/cpu/dense_kernels.h"

namespace pare::cpu {
namespace {

// The values from i on, zeros beyond n.
template <class I>
PARE_KERNEL typename I::Floats load_part(const float* x, int64_t i, int64_t n) {
  if (i + 16 <= n) return I::load_f32(x + i);
  alignas(64) float part[16] = {};
  for (int64_t k = i; k < n; ++k) part[k - i] = x[k];
  return I::load_f32(part);
}
template <class I>
PARE_KERNEL void store_part(float* y, int64_t i, int64_t n, typename I::Floats v) {
  I::store_lanes(y + i, v, static_cast<int>(n - i < 16 ? n - i : 16));
}

// e^x, off by at most 2 units in the last place; 0 below -87, and x is taken as 88 above it.
//   x = n ln 2 + r,  |r| <= ln 2 / 2,  e^r by a polynomial of degree 6 (minimax, as Cephes' expf)
template <class I>
PARE_KERNEL typename I::Floats exp(typename I::Floats x) {
  using Floats = typename I::Floats;
  const auto splat = [](float v) { return I::splat_float(v); };
  const Floats kept = I::min(I::max(x, splat(-87.0f)), splat(88.0f));
  const Floats magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  const Floats n = I::sub(I::fma(kept, splat(1.44269504f), magic), magic);
  Floats r = I::fma(n, splat(-0.693359375f), kept);
  r = I::fma(n, splat(2.12194440e-4f), r);  // ln 2 in two parts: the first times n is exact
  Floats p = splat(1.9875691500e-4f);
  p = I::fma(p, r, splat(1.3981999507e-3f));
  p = I::fma(p, r, splat(8.3334519073e-3f));
  p = I::fma(p, r, splat(4.1665795894e-2f));
  p = I::fma(p, r, splat(1.6666665459e-1f));
  p = I::fma(p, r, splat(5.0000001201e-1f));
  p = I::plus(I::fma(I::mul(r, r), p, r), splat(1.0f));
  return I::zero_below(x, -87.0f, I::times_power_of_two(p, n));
}

template <class I>
void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* y) {
  typename I::Floats squares = I::splat_float(0);
  for (int64_t i = 0; i < n; i += 16) {
    const typename I::Floats v = load_part<I>(x, i, n);
    squares = I::fma(v, v, squares);
  }
  const float inverse = 1.0f / __builtin_sqrtf(I::sum(squares) / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; i += 16) {
    store_part<I>(y, i, n, I::mul(I::mul(load_part<I>(x, i, n), I::splat_float(inverse)), load_part<I>(weight, i, n)));
  }
}

template <class I>
void gated(bool gelu, const float* gate, const float* up, int64_t n, float* y) {
  using Floats = typename I::Floats;
  const Floats one = I::splat_float(1), none = I::splat_float(0);
  for (int64_t i = 0; i < n; i += 16) {
    const Floats g = load_part<I>(gate, i, n);
    // silu(g) = g sigmoid(g);  gelu(g) = g sigmoid(2 u), u = sqrt(2/pi) (g + 0.044715 g^3), as 1 + tanh(u) = 2
    // sigmoid(2 u)
    Floats z = g;
    if (gelu) {
      const Floats cube = I::mul(I::mul(g, g), g);
      z = I::mul(I::splat_float(1.5957691216f), I::fma(I::splat_float(0.044715f), cube, g));
    }
    const Floats value = I::divide(g, I::plus(one, exp<I>(I::sub(none, z))));
    store_part<I>(y, i, n, I::mul(value, load_part<I>(up, i, n)));
  }
}

template <class I>
void rotate(float* x, const float* cosine, const float* sine, int64_t heads, int64_t half) {
  for (int64_t h = 0; h < heads; ++h, x += 2 * half) {
    for (int64_t i = 0; i < half; i += 16) {
      const typename I::Floats a = load_part<I>(x, i, half), b = load_part<I>(x + half, i, half);
      const typename I::Floats c = load_part<I>(cosine, i, half), s = load_part<I>(sine, i, half);
      store_part<I>(x, i, half, I::fnma(b, s, I::mul(a, c)));
      store_part<I>(x + half, i, half, I::fma(a, s, I::mul(b, c)));
    }
  }
}

}  // namespace
}  // namespace pare::cpu
