// Four-bit floats with small scales: two a byte, the first half of what shares a scale in the low nibbles.
#include "pare/weights/gguf_block_codecs.h"

namespace pare::gguf {

uint16_t half_e8m0_as_bf16(uint8_t e) {
  return static_cast<uint16_t>(e < 2 ? 0x20 << e : (e - 1) << 7);  // the two smallest are subnormal
}

uint16_t half_ue4m3_as_f16(uint8_t scale) {
  if (scale == 0x7f) return 0;
  const int exponent = (scale >> 3) & 15, mantissa = scale & 7;
  if (exponent == 0) return float_to_f16(static_cast<float>(mantissa) * 0x1p-10f);
  return static_cast<uint16_t>(((exponent + 7) << 10) | (mantissa << 7));  // 2^(exponent - 8), f16's bias is 15
}

// MXFP4: e | qs[16]           value = 2^(e - 128) * T[q]
PARE_DECODER void decode_mxfp4(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 17, dst += 32) {
    const float d = bf16_to_float(half_e8m0_as_bf16(src[0]));
    for (int j = 0; j < 16; ++j) {
      dst[j] = d * static_cast<float>(kFp4Values[src[1 + j] & 15]);
      dst[j + 16] = d * static_cast<float>(kFp4Values[src[1 + j] >> 4]);
    }
  }
}

// NVFP4: scales[4] | qs[32]   value = scale / 2 * T[q], a scale and 8 bytes for every 16
PARE_DECODER void decode_nvfp4(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 36) {
    for (int s = 0; s < 4; ++s, dst += 16) {
      const float d = f16_to_float(half_ue4m3_as_f16(src[s]));
      const uint8_t* q = src + 4 + 8 * s;
      for (int j = 0; j < 8; ++j) {
        dst[j] = d * static_cast<float>(kFp4Values[q[j] & 15]);
        dst[j + 8] = d * static_cast<float>(kFp4Values[q[j] >> 4]);
      }
    }
  }
}

}  // namespace pare::gguf
