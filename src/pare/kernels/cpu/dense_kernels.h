// Products with rows of floats as they lie in a file, and the rounding of activations to 8 bits; over an instruction
// set `I` as in panel_kernels.h, here with 16 neighbours of a row in the lanes.
#pragma once

#include "pare/kernels/cpu/panel_kernels.h"

namespace pare::cpu {
namespace {

template <class I, DenseType type>
PARE_KERNEL typename I::Floats load_dense(const uint8_t* src) {
  if constexpr (type == DenseType::f16) return I::load_f16(src);
  if constexpr (type == DenseType::bf16) return I::load_bf16(src);
  return I::load_f32_unaligned(src);
}

// The last cols % 16 of a row, zeros after them.
template <class I, DenseType type>
PARE_KERNEL typename I::Floats load_tail(const uint8_t* src, int64_t count) {
  constexpr int64_t size = type == DenseType::f32 ? 4 : 2;
  alignas(64) uint8_t padded[64] = {};
  for (int64_t i = 0; i < count * size; ++i) padded[i] = src[i];
  return load_dense<I, type>(padded);
}

// `row_count` rows times `count` tokens; one sum of 16 lanes for each pair, so every tile gives the same bits.
template <class I, DenseType type, int row_count, int count>
PARE_KERNEL void dense_tile(const uint8_t* w, int64_t cols, const Rows& x, int64_t token, float* y, int64_t stride) {
  using Floats = typename I::Floats;
  constexpr int64_t size = type == DenseType::f32 ? 4 : 2;
  const int64_t padded = x.blocks * kBlockCols, whole = cols / 16 * 16;
  const float* src = x.values + token * padded;
  Floats sum[row_count][count];
#pragma GCC unroll 16
  for (int r = 0; r < row_count; ++r) {
    for (int t = 0; t < count; ++t) sum[r][t] = I::splat_float(0);
  }
  const auto add = [&](int64_t k, const auto& load) {
    Floats v[count];
#pragma GCC unroll 16
    for (int t = 0; t < count; ++t) v[t] = I::load_f32(src + t * padded + k);
#pragma GCC unroll 16
    for (int r = 0; r < row_count; ++r) {
      const Floats row = load(w + (r * cols + k) * size);
#pragma GCC unroll 16
      for (int t = 0; t < count; ++t) sum[r][t] = I::fma(row, v[t], sum[r][t]);
    }
  };
  for (int64_t k = 0; k < whole; k += 16) add(k, [](const uint8_t* at) { return load_dense<I, type>(at); });
  if (whole < cols) add(whole, [&](const uint8_t* at) { return load_tail<I, type>(at, cols - whole); });
  for (int r = 0; r < row_count; ++r) {
    for (int t = 0; t < count; ++t) y[(token + t) * stride + r] = I::sum(sum[r][t]);
  }
}

// `row_count` rows times all tokens, tile by tile.
template <class I, DenseType type, int row_count>
PARE_KERNEL void dense_rows(const uint8_t* w, int64_t cols, const Rows& x, float* y, int64_t stride) {
  int64_t t = 0;
  for (; t + I::dense_tile <= x.tokens; t += I::dense_tile) {
    dense_tile<I, type, row_count, I::dense_tile>(w, cols, x, t, y, stride);
  }
  for (; t < x.tokens; ++t) dense_tile<I, type, row_count, 1>(w, cols, x, t, y, stride);
}

// Calls each(rows of x, where their y begins): of many tokens a span at a time, whose values stay in a cache.
template <class I, class Each>
PARE_KERNEL void in_spans(const Rows& x, const Variant& how, float* y, int64_t stride, const Each& each) {
  const int64_t padded = x.blocks * kBlockCols;
  const int64_t fit = how.span_bytes / (padded * 4) / I::dense_tile * I::dense_tile;
  const int64_t span = fit < I::dense_tile ? I::dense_tile : fit;
  for (int64_t t = 0; t < x.tokens; t += span) {
    const int64_t count = x.tokens - t < span ? x.tokens - t : span;
    each(Rows{count, x.blocks, x.values + t * padded, nullptr, nullptr}, y + t * stride);
  }
}

constexpr int64_t kDenseRows = 4, kWideRows = 8;  // at once, with tiles of tokens and with few tokens

template <class I, DenseType type>
void dense_of(const void* w, int64_t cols, const Rows& tokens, const Variant& how, int64_t first, int64_t last,
              float* y, int64_t stride) {
  constexpr int64_t size = type == DenseType::f32 ? 4 : 2;
  const auto row_at = [&](int64_t row) { return static_cast<const uint8_t*>(w) + row * cols * size; };
  in_spans<I>(tokens, how, y, stride, [&](const Rows& x, float* out) {
    int64_t r = first;
    if (x.tokens < I::dense_tile) {
      for (; r + kWideRows <= last; r += kWideRows) {
        for (int64_t t = 0; t < x.tokens; ++t) {
          dense_tile<I, type, kWideRows, 1>(row_at(r), cols, x, t, out + (r - first), stride);
        }
      }
    }
    for (; r + kDenseRows <= last; r += kDenseRows) {
      dense_rows<I, type, kDenseRows>(row_at(r), cols, x, out + (r - first), stride);
    }
    for (; r < last; ++r) {
      for (int64_t t = 0; t < x.tokens; ++t)
        dense_tile<I, type, 1, 1>(row_at(r), cols, x, t, out + (r - first), stride);
    }
  });
}

template <class I>
void dense(DenseType type, const void* w, int64_t cols, const Rows& x, const Variant& how, int64_t first, int64_t last,
           float* y, int64_t stride) {
  switch (type) {
    case DenseType::f16:
      return dense_of<I, DenseType::f16>(w, cols, x, how, first, last, y, stride);
    case DenseType::bf16:
      return dense_of<I, DenseType::bf16>(w, cols, x, how, first, last, y, stride);
    case DenseType::f32:
      return dense_of<I, DenseType::f32>(w, cols, x, how, first, last, y, stride);
  }
}

template <class I>
void quantize(const float* x, int64_t blocks, int8_t* codes, BlockFacts* facts, int64_t stride) {
  constexpr float smallest = 0x1p-100f;  // below it 127 / largest is no number
  for (int64_t b = 0; b < blocks; ++b, x += kBlockCols, codes += kBlockCols * stride, facts += stride) {
    const typename I::Floats v[2] = {I::load_f32_unaligned(x), I::load_f32_unaligned(x + 16)};
    const float largest = I::largest(v[0], v[1]);
    const bool any = largest >= smallest;
    const float scale = any ? largest / 127.0f : 0.0f, inverse = any ? 127.0f / largest : 0.0f;
    const auto low = static_cast<float>(I::round_to_bytes(I::mul(v[0], I::splat_float(inverse)), codes));
    const auto high = static_cast<float>(I::round_to_bytes(I::mul(v[1], I::splat_float(inverse)), codes + 16));
    *facts = {scale, low + high, scale * (low + high), {low, high}, {scale * low, scale * high}, 0};
  }
}

template <class I>
uint64_t read(const uint8_t* src, int64_t bytes) {
  typename I::Bytes any[8];
  for (auto& v : any) v = I::splat_byte(0);
  for (int64_t at = 0; at < bytes; at += 512) {
    for (int i = 0; i < 8; ++i) fetch(src + at + Variant{}.fetch_ahead + 64 * i);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) any[i] = I::or_and(any[i], I::load(src + at + 64 * i), 0xff);
  }
  uint64_t sum = 0;
  for (const auto& v : any) {
    uint8_t bytes_of[64];
    I::store(bytes_of, v);
    for (uint8_t byte : bytes_of) sum += byte;
  }
  return sum;
}

template <class I>
int64_t dots(int64_t rounds) {
  alignas(64) uint8_t codes[64];
  int8_t x[4];
  for (int i = 0; i < 64; ++i) codes[i] = static_cast<uint8_t>(i % 16);
  for (int i = 0; i < 4; ++i) x[i] = static_cast<int8_t>(i - 2);
  const typename I::Bytes u = I::load(codes);
  typename I::Ints sums[kDots];  // in registers, as all loops over them are unrolled
#pragma GCC unroll 16
  for (int i = 0; i < kDots; ++i) sums[i] = I::splat_int(i);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kDots; ++i) sums[i] = I::template dot<false>(sums[i], u, x);
    asm volatile("" ::: "memory");  // else the compiler sees that every round is alike
  }
  int64_t total = 0;
#pragma GCC unroll 16
  for (int i = 0; i < kDots; ++i) {
    float values[16];
    I::store_f32(values, I::to_floats(sums[i]));
    total += static_cast<int64_t>(values[0]);
  }
  return total;
}

}  // namespace
}  // namespace pare::cpu
