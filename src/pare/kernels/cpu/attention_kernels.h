// Attention of a few rows of queries over a cache of keys and values (function_table.h), chunk by chunk of positions:
//
//   scores s = scale q.k (soft cap, mask);  m' = max(m, max s);  p = e^(s - m');  l = l e^(m - m') + sum p
//   o = o e^(m - m') + sum p v;             at the end o / l                       (Milakov and Gimelshein 2018)
//
// Chunks begin at multiples of kAttentionChunk and each score, weight and sum of a row is computed in the order of
// positions whatever other rows there are: a row has the same bits in a long prompt and alone.
#pragma once

#include "pare/kernels/cpu/sparse_rows_kernels.h"
#include "pare/kernels/cpu/vector_kernels.h"

namespace pare::cpu {
namespace {

// Of the chunk: keys [block][dim][16] and values [position][padded dim] in f32.
struct ChunkValues {
  const float* keys;
  const float* values;
};

template <class I>
PARE_KERNEL ChunkValues decode_chunk(const KeyValues& c, int64_t begin, int64_t count, float* room) {
  float* keys = room;
  float* values = room + kAttentionChunk * c.padded_dim;
  for (int64_t b = 0; b < (count + 15) / 16; ++b) {
    const int64_t first = (begin + 16 * b) * c.dim;
    const auto scale = c.int8 ? I::load_f32(c.key_scales + begin + 16 * b) : I::splat_float(0);
    for (int64_t d = 0; d < c.dim; ++d) {
      const auto v =
          c.int8 ? I::mul(I::load_i8(c.keys + first + 16 * d), scale) : I::load_f16(c.keys + 2 * (first + 16 * d));
      I::store_f32(keys + (b * c.dim + d) * 16, v);
    }
  }
  for (int64_t p = 0; p < count; ++p) {
    const int64_t first = (begin + p) * c.padded_dim;
    const auto scale = I::splat_float(c.int8 ? c.value_scales[begin + p] : 0);
    for (int64_t d = 0; d < c.padded_dim; d += 16) {
      const auto v = c.int8 ? I::mul(I::load_i8(c.values + first + d), scale) : I::load_f16(c.values + 2 * (first + d));
      I::store_f32(values + p * c.padded_dim + d, v);
    }
  }
  return {keys, values};
}

// How a tile gets at 16 numbers: from the decoded chunk, or straight from an f16 cache where few rows share them.
template <class I>
struct FromFloats {
  const float* data;
  PARE_KERNEL typename I::Floats at(int64_t i) const { return I::load_f32(data + i); }
};
template <class I>
struct FromHalves {
  const uint8_t* data;
  PARE_KERNEL typename I::Floats at(int64_t i) const { return I::load_f16(data + 2 * i); }
};

// scores [rows][kAttentionChunk] of `count` rows and `blocks` times 16 positions.
template <class I, int count, int blocks, class Keys>
PARE_KERNEL void score_tile(const Keys& keys, int64_t block, int64_t dim, const float* const* queries, float* scores) {
  typename I::Floats sum[count][blocks];
#pragma GCC unroll 4
  for (int r = 0; r < count; ++r) {
#pragma GCC unroll 4
    for (int b = 0; b < blocks; ++b) sum[r][b] = I::splat_float(0);
  }
  for (int64_t d = 0; d < dim; ++d) {
    typename I::Floats k[blocks];
#pragma GCC unroll 4
    for (int b = 0; b < blocks; ++b) k[b] = keys.at(((block + b) * dim + d) * 16);
#pragma GCC unroll 4
    for (int r = 0; r < count; ++r) {
      const typename I::Floats q = I::splat_float(queries[r][d]);
#pragma GCC unroll 4
      for (int b = 0; b < blocks; ++b) sum[r][b] = I::fma(q, k[b], sum[r][b]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < count; ++r) {
#pragma GCC unroll 4
    for (int b = 0; b < blocks; ++b) I::store_f32(scores + r * kAttentionChunk + 16 * (block + b), sum[r][b]);
  }
}

template <class I, int count, class Keys>
PARE_KERNEL void score_rows(const Keys& keys, int64_t blocks, int64_t dim, const float* const* queries, float* scores) {
  int64_t b = 0;
  for (; b + 4 <= blocks; b += 4) score_tile<I, count, 4>(keys, b, dim, queries, scores);
  for (; b < blocks; ++b) score_tile<I, count, 1>(keys, b, dim, queries, scores);
}

// o [rows][padded dim] += weights [rows][kAttentionChunk] times values, `count` rows and `vectors` times 16 of dim.
template <class I, int count, int vectors, class Values>
PARE_KERNEL void value_tile(const Values& values, int64_t positions, int64_t padded, int64_t d, const float* weights,
                            float* o) {
  typename I::Floats sum[count][vectors];
#pragma GCC unroll 4
  for (int r = 0; r < count; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[r][v] = I::load_f32(o + r * padded + d + 16 * v);
  }
  for (int64_t p = 0; p < positions; ++p) {
    typename I::Floats value[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) value[v] = values.at(p * padded + d + 16 * v);
#pragma GCC unroll 4
    for (int r = 0; r < count; ++r) {
      const typename I::Floats w = I::splat_float(weights[r * kAttentionChunk + p]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[r][v] = I::fma(w, value[v], sum[r][v]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < count; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) I::store_f32(o + r * padded + d + 16 * v, sum[r][v]);
  }
}

template <class I, int count, class Values>
PARE_KERNEL void value_rows(const Values& values, int64_t positions, int64_t padded, const float* weights, float* o) {
  int64_t d = 0;
  for (; d + 64 <= padded; d += 64) value_tile<I, count, 4>(values, positions, padded, d, weights, o);
  for (; d < padded; d += 16) value_tile<I, count, 1>(values, positions, padded, d, weights, o);
}

// each.operator()<count>(row) for rows in tiles of 4, 2 and 1
template <class Each>
PARE_KERNEL void in_tiles(int64_t rows, const Each& each) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) each.template operator()<4>(r);
  if (r + 2 <= rows) {
    each.template operator()<2>(r);
    r += 2;
  }
  if (r < rows) each.template operator()<1>(r);
}

template <class I>
PARE_KERNEL typename I::Floats capped(typename I::Floats s, float cap) {
  // tanh(z) = 1 - 2 / (e^(2z) + 1)
  const auto splat = [](float v) { return I::splat_float(v); };
  const auto e = exp<I>(I::mul(s, splat(2 / cap)));
  return I::mul(splat(cap), I::sub(splat(1), I::divide(splat(2), I::plus(e, splat(1)))));
}

// Scores of one row become weights, in place; `seen` from `from` to `to` - 1 of the chunk. Returns what o and l are
// multiplied by.
template <class I>
PARE_KERNEL float weigh(const AttentionTask& task, float* s, int64_t padded_count, int64_t from, int64_t to, float& m,
                        float& l) {
  constexpr float none = -3.0e38f;
  typename I::Floats most = I::splat_float(none);
  for (int64_t i = 0; i < padded_count; i += 16) {
    auto v = I::mul(I::load_f32(s + i), I::splat_float(task.scale));
    if (task.softcap != 0) v = capped<I>(v, task.softcap);
    I::store_f32(s + i, v);
    if (i < from || i + 16 > to) {
      for (int64_t k = i; k < i + 16; ++k) {
        if (k < from || k >= to) s[k] = none;
      }
      v = I::load_f32(s + i);
    }
    most = I::max(most, v);
  }
  const float found = I::most(most), next = found > m ? found : m;
  typename I::Floats sum = I::splat_float(0);
  for (int64_t i = 0; i < padded_count; i += 16) {
    const auto p = exp<I>(I::sub(I::load_f32(s + i), I::splat_float(next)));
    I::store_f32(s + i, p);
    sum = I::plus(sum, p);
  }
  alignas(64) float before[16];
  I::store_f32(before, exp<I>(I::splat_float(m - next)));
  l = l * before[0] + I::sum(sum);
  m = next;
  return before[0];
}

template <class I>
void attend(const AttentionTask& task, void* room) {
  const KeyValues& c = task.cache;
  auto* scores = static_cast<float*>(room);
  float* m = scores + kAttentionRows * kAttentionChunk;
  float* l = m + kAttentionRows;
  float* o = l + kAttentionRows;
  float* chunk = o + kAttentionRows * c.padded_dim;
  const float* queries[kAttentionRows];
  const auto offset = [&](int64_t r) { return r / task.heads * task.token_stride + r % task.heads * task.stride; };
  for (int64_t r = 0; r < task.rows; ++r) {
    queries[r] = task.queries + offset(r);
    m[r] = -3.0e38f;
    l[r] = 0;
  }
  for (int64_t i = 0; i < task.rows * c.padded_dim; ++i) o[i] = 0;
  const int64_t last = task.first + (task.rows - 1) / task.heads;  // position of the last row
  const auto start_of = [&](int64_t position) {
    return task.window > 0 && position + 1 > task.window ? position + 1 - task.window : int64_t{0};
  };
  for (int64_t begin = start_of(task.first) / kAttentionChunk * kAttentionChunk; begin <= last;
       begin += kAttentionChunk) {
    const int64_t count = last + 1 - begin < kAttentionChunk ? last + 1 - begin : kAttentionChunk;
    const int64_t blocks = (count + 15) / 16;
    // Decoding pays when many rows use it; straight from f16 gives the same numbers.
    const bool decode = c.int8 || task.rows >= 8;
    const ChunkValues floats = decode ? decode_chunk<I>(c, begin, count, chunk) : ChunkValues{nullptr, nullptr};
    const FromHalves<I> key_halves{c.keys + 2 * begin * c.dim}, value_halves{c.values + 2 * begin * c.padded_dim};
    in_tiles(task.rows, [&]<int n>(int64_t r) {
      float* to = scores + r * kAttentionChunk;
      if (decode) {
        score_rows<I, n>(FromFloats<I>{floats.keys}, blocks, c.dim, queries + r, to);
      } else {
        score_rows<I, n>(key_halves, blocks, c.dim, queries + r, to);
      }
    });
    for (int64_t r = 0; r < task.rows; ++r) {
      const int64_t position = task.first + r / task.heads, from = start_of(position) - begin,
                    to = position + 1 - begin;
      if (to <= 0 || from >= count) {  // sees nothing of this chunk
        for (int64_t i = 0; i < 16 * blocks; ++i) scores[r * kAttentionChunk + i] = 0;
        continue;
      }
      const float before = weigh<I>(task, scores + r * kAttentionChunk, 16 * blocks, from, to, m[r], l[r]);
      for (int64_t d = 0; d < c.padded_dim; d += 16) {
        float* at = o + r * c.padded_dim + d;
        I::store_f32(at, I::mul(I::load_f32(at), I::splat_float(before)));
      }
    }
    in_tiles(task.rows, [&]<int n>(int64_t r) {
      const float* weights = scores + r * kAttentionChunk;
      float* to = o + r * c.padded_dim;
      if (decode) {
        value_rows<I, n>(FromFloats<I>{floats.values}, count, c.padded_dim, weights, to);
      } else {
        value_rows<I, n>(value_halves, count, c.padded_dim, weights, to);
      }
    });
  }
  for (int64_t r = 0; r < task.rows; ++r) {
    const typename I::Floats inverse = I::splat_float(1 / l[r]);
    for (int64_t d = 0; d < c.dim; d += 16) {
      store_part<I>(task.out + offset(r), d, c.dim, I::mul(I::load_f32(o + r * c.padded_dim + d), inverse));
    }
  }
}

// Numbers to 8 bits with one scale; `step` apart in dst.
template <class I>
PARE_KERNEL float to_bytes(const float* src, int64_t n, uint8_t* dst, int64_t step) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float size = __builtin_fabsf(src[i]);
    largest = size > largest ? size : largest;
  }
  const bool any = largest >= 0x1p-100f;
  const float inverse = any ? 127.0f / largest : 0.0f;
  for (int64_t i = 0; i < n; i += 16) {
    int8_t codes[16];
    I::round_to_bytes(I::mul(load_part<I>(src, i, n), I::splat_float(inverse)), codes);
    for (int64_t k = i; k < n && k < i + 16; ++k) dst[k * step] = static_cast<uint8_t>(codes[k - i]);
  }
  return any ? largest / 127.0f : 0.0f;
}

template <class I>
void remember(const KeyValues& c, int64_t position, const float* key, const float* value) {
  const int64_t block = position / 16 * 16 * c.dim, lane = position % 16;
  if (c.int8) {
    c.key_scales[position] = to_bytes<I>(key, c.dim, c.keys + block + lane, 16);
    c.value_scales[position] = to_bytes<I>(value, c.dim, c.values + position * c.padded_dim, 1);
    return;
  }
  uint8_t halves[32];
  for (int64_t i = 0; i < c.dim; i += 16) {
    I::store_f16(halves, load_part<I>(key, i, c.dim));
    for (int64_t d = i; d < c.dim && d < i + 16; ++d) {
      __builtin_memcpy(c.keys + 2 * (block + 16 * d + lane), halves + 2 * (d - i), 2);
    }
    I::store_f16(c.values + 2 * (position * c.padded_dim + i), load_part<I>(value, i, c.dim));
  }
}

template <class I>
constexpr FunctionTable table_of(const char* name) {
  return {name,     quantize<I>, panels_int8<I>, panels_f32<I>, dense<I>, sparse_rows<I>, rms_norm<I>,
          gated<I>, rotate<I>,   remember<I>,    attend<I>,     read<I>,  dots<I>};
}

}  // namespace
}  // namespace pare::cpu
