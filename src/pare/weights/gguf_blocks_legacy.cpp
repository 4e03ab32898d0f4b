// Blocks of 32 elements: byte j of `qs` holds element j in its low nibble and element j + 16 in its high one.
#include <algorithm>
#include <cmath>

#include "pare/weights/gguf_block_codecs.h"

namespace pare::gguf {
namespace {

constexpr int kHalf = 16, kBlock = 32;

// trunc(x) clamped to 0..15; anything that is no number gives 0.
uint8_t nibble(float x) {
  return static_cast<uint8_t>(x > 0 ? std::min(x, 15.0f) : 0.0f);
}

// The fifth bit of element j is bit j of qh: 0 or 16.
int fifth_bit(uint32_t qh, int j) {
  return static_cast<int>((qh >> j) & 1u) << 4;
}

}  // namespace

// Q4_0: f16 d | qs[16]           value = d * (q - 8)
PARE_DECODER void decode_q4_0(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 18, dst += kBlock) {
    const float d = f16_at(src);
    const uint8_t* qs = src + 2;
    for (int j = 0; j < kHalf; ++j) {
      dst[j] = static_cast<float>((qs[j] & 15) - 8) * d;
      dst[j + kHalf] = static_cast<float>((qs[j] >> 4) - 8) * d;
    }
  }
}

// Q4_1: f16 d | f16 m | qs[16]   value = d * q + m
PARE_DECODER void decode_q4_1(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 20, dst += kBlock) {
    const float d = f16_at(src), m = f16_at(src + 2);
    const uint8_t* qs = src + 4;
    for (int j = 0; j < kHalf; ++j) {
      dst[j] = static_cast<float>(qs[j] & 15) * d + m;
      dst[j + kHalf] = static_cast<float>(qs[j] >> 4) * d + m;
    }
  }
}

// Q5_0: f16 d | u32 qh | qs[16]  value = d * (q - 16)
PARE_DECODER void decode_q5_0(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 22, dst += kBlock) {
    const float d = f16_at(src);
    const uint32_t qh = u32_at(src + 2);
    const uint8_t* qs = src + 6;
    for (int j = 0; j < kHalf; ++j) {
      dst[j] = static_cast<float>(((qs[j] & 15) | fifth_bit(qh, j)) - 16) * d;
      dst[j + kHalf] = static_cast<float>(((qs[j] >> 4) | fifth_bit(qh, j + kHalf)) - 16) * d;
    }
  }
}

// Q5_1: f16 d | f16 m | u32 qh | qs[16]   value = d * q + m
PARE_DECODER void decode_q5_1(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 24, dst += kBlock) {
    const float d = f16_at(src), m = f16_at(src + 2);
    const uint32_t qh = u32_at(src + 4);
    const uint8_t* qs = src + 8;
    for (int j = 0; j < kHalf; ++j) {
      dst[j] = static_cast<float>((qs[j] & 15) | fifth_bit(qh, j)) * d + m;
      dst[j + kHalf] = static_cast<float>((qs[j] >> 4) | fifth_bit(qh, j + kHalf)) * d + m;
    }
  }
}

// Q8_0: f16 d | i8 qs[32]        value = d * q
PARE_DECODER void decode_q8_0(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 34, dst += kBlock) {
    const float d = f16_at(src);
    for (int j = 0; j < kBlock; ++j) dst[j] = static_cast<float>(static_cast<int8_t>(src[2 + j])) * d;
  }
}

// IQ4_NL: f16 d | qs[16]         value = d * T[q]
PARE_DECODER void decode_iq4_nl(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 18, dst += kBlock) {
    const float d = f16_at(src);
    const uint8_t* qs = src + 2;
    for (int j = 0; j < kHalf; ++j) {
      dst[j] = d * static_cast<float>(kIq4Values[qs[j] & 15]);
      dst[j + kHalf] = d * static_cast<float>(kIq4Values[qs[j] >> 4]);
    }
  }
}

// The element of largest magnitude, sign kept, takes code 0, the one code that has no mirror image.
void encode_q4_0(const float* src, int64_t blocks, uint8_t* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += kBlock, dst += 18) {
    float largest = 0;
    for (int j = 0; j < kBlock; ++j) {
      if (std::fabs(src[j]) > std::fabs(largest)) largest = src[j];
    }
    const float d = largest / -8.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
    put_f16(dst, d);
    for (int j = 0; j < kHalf; ++j) {
      const uint8_t low = nibble(src[j] * inverse + 8.5f), high = nibble(src[j + kHalf] * inverse + 8.5f);
      dst[2 + j] = static_cast<uint8_t>(low | (high << 4));
    }
  }
}

void encode_q4_1(const float* src, int64_t blocks, uint8_t* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += kBlock, dst += 20) {
    const auto [lowest, highest] = std::minmax_element(src, src + kBlock);
    const float m = *lowest, d = (*highest - m) / 15.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
    put_f16(dst, d);
    put_f16(dst + 2, m);
    for (int j = 0; j < kHalf; ++j) {
      const uint8_t low = nibble((src[j] - m) * inverse + 0.5f), high = nibble((src[j + kHalf] - m) * inverse + 0.5f);
      dst[4 + j] = static_cast<uint8_t>(low | (high << 4));
    }
  }
}

void encode_q8_0(const float* src, int64_t blocks, uint8_t* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += kBlock, dst += 34) {
    float largest = 0;
    for (int j = 0; j < kBlock; ++j) largest = std::max(largest, std::fabs(src[j]));
    const float d = largest / 127.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
    put_f16(dst, d);
    for (int j = 0; j < kBlock; ++j) {
      const float q = std::round(src[j] * inverse);  // half away from zero, as ggml's reference
      dst[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(q > -127 ? std::min(q, 127.0f) : -127.0f));
    }
  }
}

}  // namespace pare::gguf
