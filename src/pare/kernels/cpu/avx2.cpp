// AVX2, FMA and F16C: two registers a step. Products of bytes go by pairs through 16 bits, where codes up to 127 times
// activations up to 127 fit; larger codes go in two halves.
#if defined(__x86_64__)
#include <immintrin.h>

#include "pare/kernels/cpu/attention_kernels.h"
#include "pare/kernels/cpu/expand_table.h"

namespace pare::cpu {
namespace {

struct Avx2 {
  struct Bytes {
    __m256i v[2];
  };
  using Ints = Bytes;
  struct Floats {
    __m256 v[2];
  };
  static constexpr int tile = 2;
  static constexpr int register_tile = 4;     // tokens with codes that are unpacked on the way
  static constexpr bool wide_differs = true;  // products with codes above 127
  static constexpr int float_tile = 1;
  static constexpr int dense_tile = 2;

  template <class Each>
  static PARE_KERNEL Bytes both(const Each& each) {
    return {{each(0), each(1)}};
  }
  template <class Each>
  static PARE_KERNEL Floats both_floats(const Each& each) {
    return {{each(0), each(1)}};
  }
  static PARE_KERNEL Bytes load(const uint8_t* src) {
    return both([&](int i) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + 32 * i)); });
  }
  static PARE_KERNEL void store(uint8_t* dst, Bytes b) {
    for (int i = 0; i < 2; ++i) _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + 32 * i), b.v[i]);
  }
  static PARE_KERNEL Bytes load_table(const uint8_t* table) {
    const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
    return {{t, t}};
  }
  static PARE_KERNEL Bytes and_(Bytes b, uint8_t mask) {
    return both([&](int i) { return _mm256_and_si256(b.v[i], _mm256_set1_epi8(static_cast<char>(mask))); });
  }
  static PARE_KERNEL Bytes or_and(Bytes low, Bytes b, uint8_t mask) {
    const Bytes bits = and_(b, mask);
    return both([&](int i) { return _mm256_or_si256(low.v[i], bits.v[i]); });
  }
  template <int n>
  static PARE_KERNEL Bytes shift_right(Bytes b) {
    return both([&](int i) { return _mm256_srli_epi16(b.v[i], n); });
  }
  template <int n>
  static PARE_KERNEL Bytes shift_left(Bytes b) {
    return both([&](int i) { return _mm256_slli_epi16(b.v[i], n); });
  }
  static PARE_KERNEL Bytes lookup(Bytes table, Bytes nibbles) {
    return both([&](int i) { return _mm256_shuffle_epi8(table.v[i], nibbles.v[i]); });
  }
  static PARE_KERNEL Bytes splat_byte(uint8_t value) {
    return both([&](int) { return _mm256_set1_epi8(static_cast<char>(value)); });
  }
  // Kept bytes to their places, `fill` elsewhere. May read 64 bytes whatever the mask.
  static PARE_KERNEL Bytes expand(Bytes fill, uint64_t mask, const uint8_t* kept) {
    alignas(32) uint8_t places[64], found[64];
    for (int i = 0; i < 8; ++i) {
      const auto eight_bits = static_cast<uint8_t>(mask >> (8 * i));
      const __m128i order = eight(kExpand.shuffle[eight_bits]);
      _mm_storel_epi64(reinterpret_cast<__m128i*>(places + 8 * i), order);
      _mm_storel_epi64(reinterpret_cast<__m128i*>(found + 8 * i), _mm_shuffle_epi8(eight(kept), order));
      kept += __builtin_popcount(eight_bits);
    }
    const Bytes none = load(places), values = load(found);  // the top bit: nothing goes here
    return both([&](int i) { return _mm256_blendv_epi8(values.v[i], fill.v[i], none.v[i]); });
  }
  static PARE_KERNEL Bytes expand_nibbles(Bytes fill, uint64_t mask, const uint8_t* kept) {
    uint8_t codes[72];
    spread_nibbles(kept, __builtin_popcountll(mask), codes);
    return expand(fill, mask, codes);
  }
  // 32 kept halves to their places, zeros elsewhere. May read 64 bytes whatever the mask.
  static PARE_KERNEL void expand_halves(uint32_t mask, const uint8_t* kept, uint8_t* dst) {
    for (int i = 0; i < 4; ++i) {
      const uint32_t eight_bits = (mask >> (8 * i)) & 255;
      const __m128i order = eight(kExpand.shuffle[eight_bits]);  // of halves: bytes 2 n and 2 n + 1; "none" stays that
      const __m128i even = _mm_adds_epu8(order, order), odd = _mm_adds_epu8(even, _mm_set1_epi8(1));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + 16 * i),
                       _mm_shuffle_epi8(sixteen(kept), _mm_unpacklo_epi8(even, odd)));
      kept += 2 * __builtin_popcount(eight_bits);
    }
  }
  template <bool wide>
  static PARE_KERNEL Ints dot(Ints sum, Bytes u, const int8_t* x4) {
    int32_t four;
    __builtin_memcpy(&four, x4, 4);
    const __m256i x = _mm256_set1_epi32(four), ones = _mm256_set1_epi16(1);
    return both([&](int i) {
      if constexpr (wide) {
        const __m256i half = _mm256_and_si256(_mm256_srli_epi16(u.v[i], 1), _mm256_set1_epi8(127));
        const __m256i rest = _mm256_sub_epi8(u.v[i], half);  // up to 128: twice that times 127 still fits
        const __m256i a = _mm256_madd_epi16(_mm256_maddubs_epi16(half, x), ones);
        const __m256i b = _mm256_madd_epi16(_mm256_maddubs_epi16(rest, x), ones);
        return _mm256_add_epi32(sum.v[i], _mm256_add_epi32(a, b));
      } else {
        return _mm256_add_epi32(sum.v[i], _mm256_madd_epi16(_mm256_maddubs_epi16(u.v[i], x), ones));
      }
    });
  }
  static PARE_KERNEL Ints splat_int(int32_t value) {
    return both([&](int) { return _mm256_set1_epi32(value); });
  }
  static PARE_KERNEL Ints add(Ints a, Ints b) {
    return both([&](int i) { return _mm256_add_epi32(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats to_floats(Ints b) {
    return both_floats([&](int i) { return _mm256_cvtepi32_ps(b.v[i]); });
  }
  static PARE_KERNEL Floats splat_float(float value) {
    return both_floats([&](int) { return _mm256_set1_ps(value); });
  }
  static PARE_KERNEL Floats fma(Floats a, Floats b, Floats c) {
    return both_floats([&](int i) { return _mm256_fmadd_ps(a.v[i], b.v[i], c.v[i]); });
  }
  static PARE_KERNEL Floats fnma(Floats a, Floats b, Floats c) {  // c - a b
    return both_floats([&](int i) { return _mm256_fnmadd_ps(a.v[i], b.v[i], c.v[i]); });
  }
  static PARE_KERNEL Floats mul(Floats a, Floats b) {
    return both_floats([&](int i) { return _mm256_mul_ps(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats sub(Floats a, Floats b) {
    return both_floats([&](int i) { return _mm256_sub_ps(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats plus(Floats a, Floats b) {
    return both_floats([&](int i) { return _mm256_add_ps(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats load_f32_unaligned(const void* src) {
    return both_floats([&](int i) { return _mm256_loadu_ps(static_cast<const float*>(src) + 8 * i); });
  }
  static PARE_KERNEL Floats load_f32(const float* src) { return load_f32_unaligned(src); }
  static PARE_KERNEL void store_f32(float* dst, Floats f) {
    for (int i = 0; i < 2; ++i) _mm256_storeu_ps(dst + 8 * i, f.v[i]);
  }
  static PARE_KERNEL __m128i sixteen(const uint8_t* src) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(src));
  }
  static PARE_KERNEL __m128i eight(const uint8_t* src) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(src));
  }
  static PARE_KERNEL Floats load_f16(const uint8_t* src) {
    return both_floats([&](int i) { return _mm256_cvtph_ps(sixteen(src + 16 * i)); });
  }
  static PARE_KERNEL Floats load_bf16(const uint8_t* src) {
    return both_floats([&](int i) {
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(sixteen(src + 16 * i)), 16));
    });
  }
  static PARE_KERNEL Floats load_u8(const uint8_t* src) {
    return both_floats([&](int i) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight(src + 8 * i))); });
  }
  static PARE_KERNEL Floats load_i8(const uint8_t* src) {
    return both_floats([&](int i) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight(src + 8 * i))); });
  }
  template <int j>
  static PARE_KERNEL Floats byte_of(Bytes b) {
    return both_floats([&](int i) {
      return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(b.v[i], 8 * j), _mm256_set1_epi32(255)));
    });
  }
  static PARE_KERNEL void store_lanes(float* dst, Floats f, int lanes) {
    if (lanes == 16) return store_f32(dst, f);
    alignas(32) float values[16];
    store_f32(values, f);
    for (int i = 0; i < lanes; ++i) dst[i] = values[i];
  }
  static PARE_KERNEL Floats min(Floats a, Floats b) {
    return both_floats([&](int i) { return _mm256_min_ps(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats max(Floats a, Floats b) {
    return both_floats([&](int i) { return _mm256_max_ps(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats divide(Floats a, Floats b) {
    return both_floats([&](int i) { return _mm256_div_ps(a.v[i], b.v[i]); });
  }
  // n whole, so large that v has no subnormal part
  static PARE_KERNEL Floats times_power_of_two(Floats v, Floats n) {
    return both_floats([&](int i) {
      const __m256i power = _mm256_slli_epi32(_mm256_cvtps_epi32(n.v[i]), 23);
      return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v.v[i]), power));
    });
  }
  static PARE_KERNEL Floats zero_below(Floats x, float least, Floats v) {
    return both_floats(
        [&](int i) { return _mm256_and_ps(_mm256_cmp_ps(x.v[i], _mm256_set1_ps(least), _CMP_NLT_UQ), v.v[i]); });
  }
  static PARE_KERNEL float most(Floats f) {
    const __m256 m = _mm256_max_ps(f.v[0], f.v[1]);
    __m128 v = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    v = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
  }
  static PARE_KERNEL void store_f16(uint8_t* dst, Floats f) {
    for (int i = 0; i < 2; ++i) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + 16 * i),
                       _mm256_cvtps_ph(f.v[i], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
  }
  static PARE_KERNEL float sum(Floats f) {
    const __m256 eight_sums = _mm256_add_ps(f.v[0], f.v[1]);
    __m128 v = _mm_add_ps(_mm256_castps256_ps128(eight_sums), _mm256_extractf128_ps(eight_sums, 1));
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
  }
  static PARE_KERNEL float largest(Floats a, Floats b) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 m = _mm256_max_ps(_mm256_andnot_ps(sign, a.v[0]), _mm256_andnot_ps(sign, a.v[1]));
    m = _mm256_max_ps(m, _mm256_max_ps(_mm256_andnot_ps(sign, b.v[0]), _mm256_andnot_ps(sign, b.v[1])));
    __m128 v = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    v = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
  }
  static PARE_KERNEL int32_t round_to_bytes(Floats f, int8_t* dst) {
    const __m256i a = _mm256_cvtps_epi32(f.v[0]), b = _mm256_cvtps_epi32(f.v[1]);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), bytes);
    const __m256i pair = _mm256_add_epi32(a, b);
    __m128i v = _mm_add_epi32(_mm256_castsi256_si128(pair), _mm256_extracti128_si256(pair, 1));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
  }
};

}  // namespace

const FunctionTable kAvx2 = table_of<Avx2>("avx2");

}  // namespace pare::cpu
#endif
