// Superblocks of 256 elements: f16 scales of the superblock times small integer scales of 8 or 16 sub-blocks.
#include <utility>

#include "pare/weights/gguf_block_codecs.h"

namespace pare::gguf {
namespace {

// Q4_K and Q5_K: eight 6-bit scales and eight 6-bit mins in 12 bytes.
//   byte j, j < 4: scale j, and the top 2 bits of scale j + 4;   byte j + 4: the same of the mins
//   byte j + 8: the low 4 bits of scale j + 4 (low nibble) and of min j + 4 (high nibble)
std::pair<int, int> scale_and_min(const uint8_t* s, int j) {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | ((s[j - 4] >> 6) << 4), (s[j + 4] >> 4) | ((s[j] >> 6) << 4)};
}

// Q3_K: sixteen 6-bit scales in 12 bytes: 4 low bits in bytes 0..7 (nibbles), 2 high bits in bytes 8..11.
int q3_scale(const uint8_t* s, int j) {
  const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
  const int high = (s[8 + j % 4] >> (2 * (j / 4))) & 3;
  return (low | (high << 4)) - 32;
}

}  // namespace

// Q2_K: scales[16] | qs[64] | f16 d | f16 dmin     value = d * sc * q - dmin * mn, sc and mn nibbles of scales[j]
// 128 elements take 32 bytes of qs: element 32 k + l of them is bits 2k, 2k+1 of byte l.
PARE_DECODER void decode_q2_k(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 84) {
    const uint8_t *scales = src, *qs = src + 16;
    const float d = f16_at(src + 80), dmin = f16_at(src + 82);
    for (int j = 0; j < 16; ++j, dst += 16) {  // sub-block j: half j/8, shift of (j%8)/2, bytes from 16 (j%2)
      const float scale = d * static_cast<float>(scales[j] & 15), min = dmin * static_cast<float>(scales[j] >> 4);
      const uint8_t* q = qs + 32 * (j / 8) + 16 * (j % 2);
      const int shift = 2 * ((j % 8) / 2);
      for (int l = 0; l < 16; ++l) dst[l] = scale * static_cast<float>((q[l] >> shift) & 3) - min;
    }
  }
}

// Q3_K: hmask[32] | qs[64] | scales[12] | f16 d     value = d * sc * q, q in -4..3; low bits as Q2_K, a set bit in
// hmask adds 4
PARE_DECODER void decode_q3_k(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 110) {
    const uint8_t *hmask = src, *qs = src + 32, *scales = src + 96;
    const float d = f16_at(src + 108);
    for (int j = 0; j < 16; ++j, dst += 16) {
      const float scale = d * static_cast<float>(q3_scale(scales, j));
      const uint8_t* q = qs + 32 * (j / 8) + 16 * (j % 2);
      const uint8_t* h = hmask + 16 * (j % 2);
      const int shift = 2 * ((j % 8) / 2), bit = j / 2;
      for (int l = 0; l < 16; ++l) {
        dst[l] = scale * static_cast<float>(((q[l] >> shift) & 3) + (((h[l] >> bit) & 1) << 2) - 4);
      }
    }
  }
}

// Q4_K: f16 d | f16 dmin | scales[12] | qs[128]     value = d * sc * q - dmin * mn
// 64 elements take 32 bytes of qs: the first 32 the low nibbles, the next 32 the high ones.
PARE_DECODER void decode_q4_k(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 144) {
    const float d = f16_at(src), dmin = f16_at(src + 2);
    for (int j = 0; j < 8; ++j, dst += 32) {
      const auto [sc, mn] = scale_and_min(src + 4, j);
      const float scale = d * static_cast<float>(sc), min = dmin * static_cast<float>(mn);
      const uint8_t* q = src + 16 + 32 * (j / 2);
      const int shift = 4 * (j % 2);
      for (int l = 0; l < 32; ++l) dst[l] = scale * static_cast<float>((q[l] >> shift) & 15) - min;
    }
  }
}

// Q5_K: f16 d | f16 dmin | scales[12] | qh[32] | qs[128]     as Q4_K; bit j of qh[l] adds 16 in sub-block j
PARE_DECODER void decode_q5_k(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 176) {
    const float d = f16_at(src), dmin = f16_at(src + 2);
    const uint8_t* qh = src + 16;
    for (int j = 0; j < 8; ++j, dst += 32) {
      const auto [sc, mn] = scale_and_min(src + 4, j);
      const float scale = d * static_cast<float>(sc), min = dmin * static_cast<float>(mn);
      const uint8_t* q = src + 48 + 32 * (j / 2);
      const int shift = 4 * (j % 2);
      for (int l = 0; l < 32; ++l) {
        const int code = ((q[l] >> shift) & 15) + (((qh[l] >> j) & 1) << 4);
        dst[l] = scale * static_cast<float>(code) - min;
      }
    }
  }
}

// Q6_K: ql[128] | qh[64] | i8 scales[16] | f16 d     value = d * sc * (q - 32)
// 128 elements take 64 bytes of ql and 32 of qh: element 32 k + l has its low 4 bits in ql[32 (k%2) + l] (low nibble
// for k < 2) and its high 2 in qh[l] at shift 2k.
PARE_DECODER void decode_q6_k(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 210) {
    const uint8_t* scales = src + 192;
    const float d = f16_at(src + 208);
    for (int j = 0; j < 16; ++j, dst += 16) {
      const int k = (j % 8) / 2, half = j / 8, from = 16 * (j % 2);
      const float scale = d * static_cast<float>(static_cast<int8_t>(scales[j]));
      const uint8_t* ql = src + 64 * half + 32 * (k % 2) + from;
      const uint8_t* qh = src + 128 + 32 * half + from;
      const int low_shift = k < 2 ? 0 : 4, high_shift = 2 * k;
      for (int l = 0; l < 16; ++l) {
        const int code = ((ql[l] >> low_shift) & 15) | (((qh[l] >> high_shift) & 3) << 4);
        dst[l] = scale * static_cast<float>(code - 32);
      }
    }
  }
}

// IQ4_XS: f16 d | u16 scales_h | scales_l[4] | qs[128]     value = d * (ls - 32) * T[q]; sub-block j of 32 has the low
// 4 bits of ls in nibble j of scales_l, the high 2 in scales_h at shift 2j
PARE_DECODER void decode_iq4_xs(const uint8_t* src, int64_t blocks, float* dst) {
  for (int64_t i = 0; i < blocks; ++i, src += 136) {
    const float d = f16_at(src);
    const int high = src[2] | (src[3] << 8);
    for (int j = 0; j < 8; ++j, dst += 32) {
      const int low = (src[4 + j / 2] >> (4 * (j % 2))) & 15;
      const float scale = d * static_cast<float>((low | (((high >> (2 * j)) & 3) << 4)) - 32);
      const uint8_t* q = src + 8 + 16 * j;
      for (int l = 0; l < 16; ++l) {
        dst[l] = scale * static_cast<float>(kIq4Values[q[l] & 15]);
        dst[l + 16] = scale * static_cast<float>(kIq4Values[q[l] >> 4]);
      }
    }
  }
}

}  // namespace pare::gguf
