// One decoder (and for some types an encoder) a block type; the table in gguf_blocks.cpp picks by id.
//
// Each takes whole blocks, one after another. The order of operations is that of ggml's dequantize_row_*, so that every
// float has the same bits; there is no fused multiply-add in it.
#pragma once

#include <cstdint>

#include "pare/base/float_types.h"

namespace pare::gguf {

inline float f16_at(const uint8_t* p) {
  return f16_to_float(static_cast<uint16_t>(p[0] | (p[1] << 8)));
}
inline void put_f16(uint8_t* p, float value) {
  const uint16_t bits = float_to_f16(value);
  p[0] = static_cast<uint8_t>(bits);
  p[1] = static_cast<uint8_t>(bits >> 8);
}

// T of IQ4_NL and IQ4_XS.
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

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

}  // namespace pare::gguf
