// AVX-512 with VNNI, VBMI and VBMI2: one register a step, one a panel's sums.
#if defined(__x86_64__)
#include <immintrin.h>

#include "pare/kernels/cpu/attention_kernels.h"

namespace pare::cpu {
namespace {

struct Avx512 {
  using Bytes = __m512i;
  using Ints = __m512i;
  using Floats = __m512;
  static constexpr int tile = 8;               // tokens: 8 sums, 8 steps of codes, 2 x 2 partial sums in 32 registers
  static constexpr int register_tile = 8;      // tokens with codes that are unpacked on the way
  static constexpr bool wide_differs = false;  // products with codes above 127
  static constexpr int float_tile = 6;         // tokens: 6 x 4 sums
  static constexpr int dense_tile = 6;         // tokens: 4 rows x 6 sums, and 6 tokens' values

  static PARE_KERNEL Bytes load(const uint8_t* src) { return _mm512_loadu_si512(src); }
  static PARE_KERNEL void store(uint8_t* dst, Bytes v) { _mm512_storeu_si512(dst, v); }
  static PARE_KERNEL Bytes load_table(const uint8_t* table) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  }
  static PARE_KERNEL Bytes and_(Bytes v, uint8_t mask) {
    return _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(mask)));
  }
  // low | (v & mask)
  static PARE_KERNEL Bytes or_and(Bytes low, Bytes v, uint8_t mask) {
    return _mm512_ternarylogic_epi32(low, v, _mm512_set1_epi8(static_cast<char>(mask)), 0xf8);
  }
  template <int n>
  static PARE_KERNEL Bytes shift_right(Bytes v) {
    return n == 0 ? v : _mm512_srli_epi16(v, n);
  }
  template <int n>
  static PARE_KERNEL Bytes shift_left(Bytes v) {
    return n == 0 ? v : _mm512_slli_epi16(v, n);
  }
  static PARE_KERNEL Bytes lookup(Bytes table, Bytes nibbles) { return _mm512_shuffle_epi8(table, nibbles); }
  static PARE_KERNEL Bytes splat_byte(uint8_t v) { return _mm512_set1_epi8(static_cast<char>(v)); }
  // Kept bytes to their places, `fill` elsewhere. Reads 64 bytes whatever the mask.
  static PARE_KERNEL Bytes expand(Bytes fill, uint64_t mask, const uint8_t* kept) {
    return _mm512_mask_expand_epi8(fill, mask, load(kept));
  }
  static PARE_KERNEL Bytes expand_nibbles(Bytes fill, uint64_t mask, const uint8_t* kept) {
    const __m512i pairs = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(kept)));
    // (pairs | pairs << 4) & 0x0f0f: the high nibble in a byte of its own
    const __m512i nibbles = _mm512_ternarylogic_epi32(pairs, _mm512_slli_epi16(pairs, 4), _mm512_set1_epi8(15), 0xa8);
    return _mm512_mask_expand_epi8(fill, mask, nibbles);
  }
  // 32 kept halves to their places, zeros elsewhere. Reads 64 bytes whatever the mask.
  static PARE_KERNEL void expand_halves(uint32_t mask, const uint8_t* kept, uint8_t* dst) {
    store(dst, _mm512_maskz_expand_epi16(mask, load(kept)));
  }
  template <bool wide>
  static PARE_KERNEL Ints dot(Ints sum, Bytes u, const int8_t* x4) {
    int32_t four;
    __builtin_memcpy(&four, x4, 4);
    return _mm512_dpbusd_epi32(sum, u, _mm512_set1_epi32(four));
  }
  static PARE_KERNEL Ints splat_int(int32_t v) { return _mm512_set1_epi32(v); }
  static PARE_KERNEL Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
  static PARE_KERNEL Floats to_floats(Ints v) { return _mm512_cvtepi32_ps(v); }
  static PARE_KERNEL Floats splat_float(float v) { return _mm512_set1_ps(v); }
  static PARE_KERNEL Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static PARE_KERNEL Floats fnma(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b
  static PARE_KERNEL Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static PARE_KERNEL Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  static PARE_KERNEL Floats plus(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static PARE_KERNEL Floats load_f32(const float* src) { return _mm512_loadu_ps(src); }
  static PARE_KERNEL Floats load_f32_unaligned(const void* src) { return _mm512_loadu_ps(src); }
  static PARE_KERNEL void store_f32(float* dst, Floats v) { _mm512_storeu_ps(dst, v); }
  static PARE_KERNEL Floats load_f16(const uint8_t* src) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(src)));
  }
  static PARE_KERNEL Floats load_bf16(const uint8_t* src) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(src)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
  }
  static PARE_KERNEL Floats load_u8(const uint8_t* src) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src))));
  }
  static PARE_KERNEL Floats load_i8(const uint8_t* src) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src))));
  }
  // Byte j of each lane.
  template <int j>
  static PARE_KERNEL Floats byte_of(Bytes v) {
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(v, 8 * j), _mm512_set1_epi32(255)));
  }
  static PARE_KERNEL void store_lanes(float* dst, Floats v, int lanes) {
    _mm512_mask_storeu_ps(dst, static_cast<__mmask16>((1u << lanes) - 1), v);
  }
  static PARE_KERNEL Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
  static PARE_KERNEL Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  static PARE_KERNEL Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
  static PARE_KERNEL Floats times_power_of_two(Floats v, Floats n) { return _mm512_scalef_ps(v, n); }  // n whole
  static PARE_KERNEL Floats zero_below(Floats x, float least, Floats v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(least), _CMP_NLT_UQ), v);
  }
  static PARE_KERNEL float most(Floats v) { return _mm512_reduce_max_ps(v); }
  static PARE_KERNEL void store_f16(uint8_t* dst, Floats v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static PARE_KERNEL float sum(Floats v) { return _mm512_reduce_add_ps(v); }
  static PARE_KERNEL float largest(Floats a, Floats b) {
    return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
  }
  // Rounds to nearest even, stores 16 bytes, returns their sum.
  static PARE_KERNEL int32_t round_to_bytes(Floats v, int8_t* dst) {
    const __m512i q = _mm512_cvtps_epi32(v);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), _mm512_cvtsepi32_epi8(q));
    return _mm512_reduce_add_epi32(q);
  }
};

}  // namespace

const FunctionTable kAvx512 = table_of<Avx512>("avx512");

}  // namespace pare::cpu
#endif
