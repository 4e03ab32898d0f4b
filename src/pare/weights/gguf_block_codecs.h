// One decoder (and for some types an encoder) a block type; the table in gguf_blocks.cpp picks by id.
//
// Each takes whole blocks, one after another. The order of operations is that of ggml's dequantize_row_*, so that every
// float has the same bits; there is no fused multiply-add in it.
#pragma once

#include <cstdint>

#include "pare/base/float_types.h"

// Compiled for AVX2 as well, without its fused products; which one runs is decided when the program is loaded, and that
// is too early for the sanitizers.
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__clang__)
#define PARE_DECODER __attribute__((target_clones("avx2", "default")))
#else
#define PARE_DECODER
#endif

namespace pare::gguf {

inline float f16_at(const uint8_t* p) {
  return f16_to_float(static_cast<uint16_t>(p[0] | (p[1] << 8)));
}
inline uint32_t u32_at(const uint8_t* p) {
  return p[0] | (uint32_t{p[1]} << 8) | (uint32_t{p[2]} << 16) | (uint32_t{p[3]} << 24);
}
inline void put_f16(uint8_t* p, float value) {
  const uint16_t bits = float_to_f16(value);
  p[0] = static_cast<uint8_t>(bits);
  p[1] = static_cast<uint8_t>(bits >> 8);
}

// T of IQ4_NL and IQ4_XS.
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// Of MXFP4 and NVFP4: twice what E2M1 means, code 8 without its sign, as ggml has it.
inline constexpr int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// gguf_blocks_legacy.cpp: 32 elements a block
void decode_q4_0(const uint8_t* src, int64_t blocks, float* dst);
void decode_q4_1(const uint8_t* src, int64_t blocks, float* dst);
void decode_q5_0(const uint8_t* src, int64_t blocks, float* dst);
void decode_q5_1(const uint8_t* src, int64_t blocks, float* dst);
void decode_q8_0(const uint8_t* src, int64_t blocks, float* dst);
void decode_iq4_nl(const uint8_t* src, int64_t blocks, float* dst);
void encode_q4_0(const float* src, int64_t blocks, uint8_t* dst);
void encode_q4_1(const float* src, int64_t blocks, uint8_t* dst);
void encode_q8_0(const float* src, int64_t blocks, uint8_t* dst);

// gguf_blocks_k.cpp: 256 elements a block
void decode_q2_k(const uint8_t* src, int64_t blocks, float* dst);
void decode_q3_k(const uint8_t* src, int64_t blocks, float* dst);
void decode_q4_k(const uint8_t* src, int64_t blocks, float* dst);
void decode_q5_k(const uint8_t* src, int64_t blocks, float* dst);
void decode_q6_k(const uint8_t* src, int64_t blocks, float* dst);
void decode_iq4_xs(const uint8_t* src, int64_t blocks, float* dst);

// gguf_blocks_lattice.cpp: the types of gguf_lattice.h
template <uint32_t id>
void decode_lattice(const uint8_t* src, int64_t blocks, float* dst);

// gguf_blocks_fp4.cpp: 32 and 64 elements a block
void decode_mxfp4(const uint8_t* src, int64_t blocks, float* dst);
void decode_nvfp4(const uint8_t* src, int64_t blocks, float* dst);
// Half of 2^(e - 127), e = 0 .. 255, as bf16, which holds it exactly.
uint16_t half_e8m0_as_bf16(uint8_t e);
// Half of an unsigned E4M3 (0x7f: 0; the top bit does not count but there), as f16, which holds it exactly.
uint16_t half_ue4m3_as_f16(uint8_t scale);

// gguf_blocks_ternary.cpp: one f16 scale d and one grid for all types there, value = d * (code - 1).
void decode_q1_0(const uint8_t* src, int64_t blocks, float* dst);   // 128 elements a block, codes 0 and 2
void decode_q2_0(const uint8_t* src, int64_t blocks, float* dst);   // 64, codes 0 .. 3
void decode_tq1_0(const uint8_t* src, int64_t blocks, float* dst);  // 256, codes 0 .. 2
void decode_tq2_0(const uint8_t* src, int64_t blocks, float* dst);  // 256, codes 0 .. 2, and 3 where somebody wrote it
// The codes of one block, a byte each.
void q1_0_codes(const uint8_t* src, uint8_t* codes);
void q2_0_codes(const uint8_t* src, uint8_t* codes);
void tq1_0_codes(const uint8_t* src, uint8_t* codes);
void tq2_0_codes(const uint8_t* src, uint8_t* codes);

}  // namespace pare::gguf
