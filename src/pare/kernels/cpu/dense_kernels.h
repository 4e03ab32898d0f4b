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

// `row_count` rows times `count` tokens, columns `from` to `to`, onto sums of 16 lanes. Whole 16s but for the row's
// end.
template <class I, DenseType type, int row_count, int count>
PARE_KERNEL void add_products(const uint8_t* w, int64_t cols, const float* x, int64_t padded, int64_t from, int64_t to,
                              bool fetch_next, typename I::Floats (&sum)[row_count][count]) {
  using Floats = typename I::Floats;
  constexpr int64_t size = type == DenseType::f32 ? 4 : 2, step_bytes = row_count * 16 * size;
  const auto add = [&](int64_t k, const auto& load) {
    Floats v[count];
#pragma GCC unroll 16
    for (int t = 0; t < count; ++t) v[t] = I::load_f32(x + t * padded + k);
#pragma GCC unroll 16
    for (int r = 0; r < row_count; ++r) {
      const Floats row = load(w + (r * cols + k) * size);
#pragma GCC unroll 16
      for (int t = 0; t < count; ++t) sum[r][t] = I::fma(row, v[t], sum[r][t]);
    }
  };
  const int64_t whole = to / 16 * 16;
  // Rows side by side are as many streams of which each is short: what follows them is asked for in its own order.
  const uint8_t* next = w + row_count * cols * size;
  for (int64_t k = from; k < whole; k += 16, next += step_bytes) {
    if (count == 1 && fetch_next) {
      for (int64_t at = 0; at < step_bytes; at += 64) __builtin_prefetch(next + at, 0, 2);
    }
    add(k, [](const uint8_t* at) { return load_dense<I, type>(at); });
  }
  if (whole < to) add(whole, [&](const uint8_t* at) { return load_tail<I, type>(at, to - whole); });
}

// One sum of 16 lanes for each pair of row and token, over all columns: every tile gives the same bits.
template <class I, DenseType type, int row_count, int count>
PARE_KERNEL void dense_tile(const uint8_t* w, int64_t cols, const Rows& x, int64_t token, bool fetch_next, float* y,
                            int64_t stride) {
  const int64_t padded = x.blocks * kBlockCols;
  typename I::Floats sum[row_count][count];
#pragma GCC unroll 16
  for (int r = 0; r < row_count; ++r) {
    for (int t = 0; t < count; ++t) sum[r][t] = I::splat_float(0);
  }
  add_products<I, type, row_count, count>(w, cols, x.values + token * padded, padded, 0, cols, fetch_next, sum);
#pragma GCC unroll 16
  for (int r = 0; r < row_count; ++r) {
    for (int t = 0; t < count; ++t) y[(token + t) * stride + r] = I::sum(sum[r][t]);
  }
}

constexpr int64_t kDenseRows = 4, kWideRows = 8;  // at once, with tiles of tokens and with few tokens
constexpr int64_t kDenseDepth = 1024;             // columns of a tile's tokens that the first-level cache holds
constexpr int64_t kDenseBlockRows = 32;           // rows that the second-level cache holds

// Up to kDenseBlockRows rows, a multiple of kDenseRows, times whole tiles of tokens: a tile's values come from the
// first-level cache for all rows, a piece of the columns at a time, with the sums in memory between pieces.
template <class I, DenseType type>
void dense_block(const uint8_t* w, int64_t cols, const Rows& x, int64_t rows, int64_t tokens, float* y,
                 int64_t stride) {
  constexpr int64_t size = type == DenseType::f32 ? 4 : 2, count = I::dense_tile;
  const int64_t padded = x.blocks * kBlockCols;
  alignas(64) float sums[kDenseBlockRows * count * 16];
  for (int64_t t = 0; t < tokens; t += count) {
    const float* values = x.values + t * padded;
    for (int64_t from = 0; from < cols; from += kDenseDepth) {
      const int64_t to = from + kDenseDepth < cols ? from + kDenseDepth : cols;
      for (int64_t r = 0; r < rows; r += kDenseRows) {
        float* at = sums + r * count * 16;
        typename I::Floats sum[kDenseRows][count];
#pragma GCC unroll 16
        for (int i = 0; i < kDenseRows; ++i) {
          for (int j = 0; j < count; ++j) {
            sum[i][j] = from == 0 ? I::splat_float(0) : I::load_f32(at + 16 * (i * count + j));
          }
        }
        add_products<I, type, kDenseRows, count>(w + r * cols * size, cols, values, padded, from, to, false, sum);
#pragma GCC unroll 16
        for (int i = 0; i < kDenseRows; ++i) {
          for (int j = 0; j < count; ++j) I::store_f32(at + 16 * (i * count + j), sum[i][j]);
        }
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < count; ++j) {
        y[(t + j) * stride + r] = I::sum(I::load_f32(sums + 16 * (r * count + j)));
      }
    }
  }
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

// All of x with `rows` rows.
template <class I, DenseType type>
void dense_rows(const uint8_t* w, int64_t cols, const Rows& x, const Variant& how, int64_t rows, float* y,
                int64_t stride) {
  constexpr int64_t row_size = type == DenseType::f32 ? 4 : 2;
  const bool fetch_next = how.fetch_ahead > 0;
  const int64_t in_tiles = x.tokens / I::dense_tile * I::dense_tile;
  // `row_count` rows from `r` on, a token at a time.
  const auto single = [&]<int row_count>(int64_t r, int64_t token) {
    for (int64_t t = token; t < x.tokens; ++t) {
      dense_tile<I, type, row_count, 1>(w + r * cols * row_size, cols, x, t, fetch_next && t == 0, y + r, stride);
    }
  };
  int64_t r = 0;
  if (in_tiles == 0) {
    for (; r + kWideRows <= rows; r += kWideRows) single.template operator()<kWideRows>(r, 0);
  }
  while (r + kDenseRows <= rows) {
    const int64_t left = (rows - r) / kDenseRows * kDenseRows,
                  end = r + (left < kDenseBlockRows ? left : kDenseBlockRows);
    if (in_tiles > 0) dense_block<I, type>(w + r * cols * row_size, cols, x, end - r, in_tiles, y + r, stride);
    for (; r < end; r += kDenseRows) single.template operator()<kDenseRows>(r, in_tiles);
  }
  for (; r < rows; ++r) single.template operator()<1>(r, 0);
}

template <class I, DenseType type>
void dense_of(const void* w, int64_t cols, const Rows& tokens, const Variant& how, int64_t first, int64_t last,
              float* y, int64_t stride) {
  constexpr int64_t size = type == DenseType::f32 ? 4 : 2;
  in_spans<I>(tokens, how, y, stride, [&](const Rows& x, float* out) {
    dense_rows<I, type>(static_cast<const uint8_t*>(w) + first * cols * size, cols, x, how, last - first, out, stride);
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
