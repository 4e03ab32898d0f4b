#include "pare/weights/encode/scalar_pack.h"

#include <algorithm>
#include <cmath>

#include "pare/weights/encode/scalar_type.h"
#include "pare/weights/gguf_block_codecs.h"

namespace pare::gguf {
namespace {

uint8_t low_byte(int value) {
  return static_cast<uint8_t>(value & 255);
}

// Element j in the low half of byte j, element j + n in the high one.
void pack_halves(const uint8_t* codes, int n, uint8_t* dst) {
  for (int j = 0; j < n; ++j) dst[j] = low_byte((codes[j] & 15) | ((codes[j + n] & 15) << 4));
}

// The fifth bits of 32 codes, one after another.
void pack_fifth_bits(const uint8_t* codes, uint8_t* dst) {
  std::fill_n(dst, 4, uint8_t{0});
  for (int j = 0; j < 32; ++j) dst[j / 8] = low_byte(dst[j / 8] | ((codes[j] >> 4) << (j % 8)));
}

// Element 32 k + l of 128 in bits 2k, 2k + 1 of byte l: the low two bits of codes.
void pack_pairs(const uint8_t* codes, uint8_t* dst) {
  for (int half = 0; half < 2; ++half, codes += 128, dst += 32) {
    for (int l = 0; l < 32; ++l) {
      int byte = 0;
      for (int k = 0; k < 4; ++k) byte |= (codes[32 * k + l] & 3) << (2 * k);
      dst[l] = low_byte(byte);
    }
  }
}

// Six bits each of eight scales and eight mins, as Q4_K and Q5_K have them.
void pack_scales_and_mins(const BlockScales& s, uint8_t* dst) {
  for (int j = 0; j < 4; ++j) {
    dst[j] = low_byte(s.sc[j] | ((s.sc[j + 4] >> 4) << 6));
    dst[j + 4] = low_byte(s.mn[j] | ((s.mn[j + 4] >> 4) << 6));
    dst[j + 8] = low_byte((s.sc[j + 4] & 15) | ((s.mn[j + 4] & 15) << 4));
  }
}

// `count` bytes of `trits` trits each, byte i holding the elements i, count + i, 2 count + i ...
void pack_trits(const uint8_t* codes, int count, int trits, uint8_t* dst) {
  for (int i = 0; i < count; ++i) {
    int value = 0;
    for (int n = 0; n < 5; ++n) value = 3 * value + (n < trits ? codes[n * count + i] : 0);
    dst[i] = low_byte((value * 256 + 242) / 243);  // a fraction of 3^5, rounded up
  }
}

}  // namespace

void pack_q4_0(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  put_f16(dst, s.d);
  pack_halves(codes, 16, dst + 2);
}
void pack_q4_1(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  put_f16(dst, s.d);
  put_f16(dst + 2, -s.dmin);
  pack_halves(codes, 16, dst + 4);
}
void pack_q5_0(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  put_f16(dst, s.d);
  pack_fifth_bits(codes, dst + 2);
  pack_halves(codes, 16, dst + 6);
}
void pack_q5_1(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  put_f16(dst, s.d);
  put_f16(dst + 2, -s.dmin);
  pack_fifth_bits(codes, dst + 4);
  pack_halves(codes, 16, dst + 8);
}
void pack_q8_0(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  put_f16(dst, s.d);
  for (int j = 0; j < 32; ++j) dst[2 + j] = low_byte(codes[j] - 127);
}
void pack_iq4_nl(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  put_f16(dst, s.d);
  pack_halves(codes, 16, dst + 2);
}

void pack_mxfp4(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  const uint8_t* code_of_level = scalar_type(*ggml_type_named("MXFP4"))->code_of_level;
  dst[0] = s.d > 0 ? low_byte(std::clamp(std::ilogb(s.d) + 128, 0, 254)) : uint8_t{0};  // d = 2^(e - 128)
  uint8_t stored[32];
  for (int j = 0; j < 32; ++j) stored[j] = code_of_level[codes[j]];
  pack_halves(stored, 16, dst + 1);
}

void pack_q2_k(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  for (int j = 0; j < 16; ++j) dst[j] = low_byte(s.sc[j] | (s.mn[j] << 4));
  pack_pairs(codes, dst + 16);
  put_f16(dst + 80, s.d);
  put_f16(dst + 82, s.dmin);
}

void pack_q3_k(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  std::fill_n(dst, 32, uint8_t{0});
  for (int e = 0; e < 256; ++e) dst[e % 32] = low_byte(dst[e % 32] | ((codes[e] >> 2) << (e / 32)));
  pack_pairs(codes, dst + 32);
  uint8_t* scales = dst + 96;
  std::fill_n(scales, 12, uint8_t{0});
  for (int j = 0; j < 16; ++j) {
    const int code = s.sc[j] + 32;
    scales[j % 8] = low_byte(scales[j % 8] | ((code & 15) << (4 * (j / 8))));
    scales[8 + j % 4] = low_byte(scales[8 + j % 4] | ((code >> 4) << (2 * (j / 4))));
  }
  put_f16(dst + 108, s.d);
}

void pack_q4_k(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  put_f16(dst, s.d);
  put_f16(dst + 2, s.dmin);
  pack_scales_and_mins(s, dst + 4);
  for (int c = 0; c < 4; ++c) pack_halves(codes + 64 * c, 32, dst + 16 + 32 * c);
}

void pack_q5_k(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  put_f16(dst, s.d);
  put_f16(dst + 2, s.dmin);
  pack_scales_and_mins(s, dst + 4);
  std::fill_n(dst + 16, 32, uint8_t{0});
  for (int e = 0; e < 256; ++e) dst[16 + e % 32] = low_byte(dst[16 + e % 32] | ((codes[e] >> 4) << (e / 32)));
  for (int c = 0; c < 4; ++c) pack_halves(codes + 64 * c, 32, dst + 48 + 32 * c);
}

void pack_q6_k(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t* c = codes + 128 * half;
    for (int l = 0; l < 64; ++l) dst[64 * half + l] = low_byte((c[l] & 15) | ((c[l + 64] & 15) << 4));
    for (int l = 0; l < 32; ++l) {
      int high = 0;
      for (int k = 0; k < 4; ++k) high |= (c[32 * k + l] >> 4) << (2 * k);
      dst[128 + 32 * half + l] = low_byte(high);
    }
  }
  for (int j = 0; j < 16; ++j) dst[192 + j] = low_byte(s.sc[j]);
  put_f16(dst + 208, s.d);
}

void pack_iq4_xs(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  put_f16(dst, s.d);
  std::fill_n(dst + 2, 6, uint8_t{0});
  for (int j = 0; j < 8; ++j) {
    const int code = s.sc[j] + 32;
    dst[2 + j / 4] = low_byte(dst[2 + j / 4] | ((code >> 4) << (2 * (j % 4))));
    dst[4 + j / 2] = low_byte(dst[4 + j / 2] | ((code & 15) << (4 * (j % 2))));
    pack_halves(codes + 32 * j, 16, dst + 8 + 16 * j);
  }
}

void pack_q2_0(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  put_f16(dst, s.d);
  for (int i = 0; i < 16; ++i) {
    int byte = 0;
    for (int k = 0; k < 4; ++k) byte |= (codes[4 * i + k] & 3) << (2 * k);
    dst[2 + i] = low_byte(byte);
  }
}

void pack_tq1_0(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  pack_trits(codes, 32, 5, dst);
  pack_trits(codes + 160, 16, 5, dst + 32);
  pack_trits(codes + 240, 4, 4, dst + 48);
  put_f16(dst + 52, s.d);
}
void pack_tq2_0(const BlockScales& s, const uint8_t* codes, uint8_t* dst) {
  pack_pairs(codes, dst);
  put_f16(dst + 64, s.d);
}

}  // namespace pare::gguf
