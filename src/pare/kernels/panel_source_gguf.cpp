// Of GGUF's blocks: the same codes and scales, each type's parts put where Panels has them. Layouts of the blocks:
// weights/gguf_blocks_legacy.cpp, weights/gguf_blocks_k.cpp and weights/gguf_blocks_ternary.cpp.
#include <algorithm>
#include <cstring>

#include "pare/kernels/panel_source.h"
#include "pare/weights/gguf_block_codecs.h"

namespace pare {
namespace {

using cpu::Codes;
using cpu::Scales;

// Offsets within a block of f16 values; -1: absent.
struct BlockType {
  uint32_t id;
  Codes codes;
  Scales scales;
  int zero;
  int64_t d, min;
};
constexpr BlockType kTypes[] = {
    {2, Codes::bits4, Scales::f16, 8, 0, -1},            // Q4_0
    {3, Codes::bits4, Scales::f16_min, 0, 0, 2},         // Q4_1
    {6, Codes::bits5, Scales::f16, 16, 0, -1},           // Q5_0
    {7, Codes::bits5, Scales::f16_min, 0, 0, 2},         // Q5_1
    {8, Codes::bits8, Scales::f16, 128, 0, -1},          // Q8_0
    {10, Codes::bits2, Scales::super16_min, 0, 80, 82},  // Q2_K
    {11, Codes::bits3, Scales::super16, 4, 108, -1},     // Q3_K
    {12, Codes::bits4, Scales::super32_min, 0, 0, 2},    // Q4_K
    {13, Codes::bits5, Scales::super32_min, 0, 0, 2},    // Q5_K
    {14, Codes::bits6, Scales::super16, 32, 208, -1},    // Q6_K
    {20, Codes::table4, Scales::f16, 128, 0, -1},        // IQ4_NL
    {23, Codes::table4, Scales::super32, 128, 0, -1},    // IQ4_XS
    {34, Codes::bits2, Scales::f16, 1, 52, -1},          // TQ1_0
    {35, Codes::bits2, Scales::f16, 1, 64, -1},          // TQ2_0
    {41, Codes::bits2, Scales::f16, 1, 0, -1},           // Q1_0
    {42, Codes::bits2, Scales::f16, 1, 0, -1},           // Q2_0
};

void low_then_high(const uint8_t* qs, int64_t count, uint8_t* codes) {
  for (int64_t i = 0; i < count; ++i) {
    codes[i] = qs[i] & 15;
    codes[count + i] = static_cast<uint8_t>(qs[i] >> 4);
  }
}

void q5_codes(const uint8_t* qh, const uint8_t* qs, uint8_t* codes) {
  uint32_t high;
  std::memcpy(&high, qh, 4);
  low_then_high(qs, 16, codes);
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(codes[i] | (((high >> i) & 1) << 4));
}

// Inner loops go over neighbours, so that the compiler makes vectors of them: loading is mostly this.

// 256 codes of two bits: element 128 h + 32 k + l is at bits 2k of byte 32 h + l
void two_bits(const uint8_t* qs, uint8_t* codes) {
  for (int h = 0; h < 2; ++h) {
    for (int k = 0; k < 4; ++k) {
      for (int l = 0; l < 32; ++l) codes[128 * h + 32 * k + l] = (qs[32 * h + l] >> (2 * k)) & 3;
    }
  }
}

// Another bit of each of 256 codes: element 32 k + l has bit k of byte l.
void one_bit(const uint8_t* qh, int to, uint8_t* codes) {
  for (int k = 0; k < 8; ++k) {
    for (int l = 0; l < 32; ++l) {
      codes[32 * k + l] = static_cast<uint8_t>(codes[32 * k + l] | (((qh[l] >> k) & 1) << to));
    }
  }
}

// Q6_K: elements 128 h + 32 k + l have their low bits in a nibble of byte 64 h + 32 (k % 2) + l, and two more at 2k of
// byte 128 + 32 h + l.
void six_bits(const uint8_t* src, uint8_t* codes) {
  for (int h = 0; h < 2; ++h) {
    for (int k = 0; k < 4; ++k) {
      const uint8_t *low = src + 64 * h + 32 * (k % 2), *high = src + 128 + 32 * h;
      const int shift = k < 2 ? 0 : 4;
      for (int l = 0; l < 32; ++l) {
        codes[128 * h + 32 * k + l] =
            static_cast<uint8_t>(((low[l] >> shift) & 15) | (((high[l] >> (2 * k)) & 3) << 4));
      }
    }
  }
}

void block_codes(uint32_t id, const uint8_t* src, uint8_t* codes) {
  switch (id) {
    case 2:
    case 20:
      return low_then_high(src + 2, 16, codes);
    case 3:
      return low_then_high(src + 4, 16, codes);
    case 6:
      return q5_codes(src + 2, src + 6, codes);
    case 7:
      return q5_codes(src + 4, src + 8, codes);
    case 8:
      for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(src[2 + i] ^ 0x80);
      return;
    case 10:
      return two_bits(src + 16, codes);
    case 11:
      two_bits(src + 32, codes);
      return one_bit(src, 2, codes);
    case 12:
    case 13:
      for (int c = 0; c < 4; ++c) low_then_high(src + (id == 12 ? 16 : 48) + 32 * c, 32, codes + 64 * c);
      if (id == 13) one_bit(src + 16, 4, codes);
      return;
    case 14:
      return six_bits(src, codes);
    case 34:
      return gguf::tq1_0_codes(src, codes);
    case 35:
      return two_bits(src, codes);
    case 41:
      return gguf::q1_0_codes(src, codes);
    case 42:
      return gguf::q2_0_codes(src, codes);
    default:  // IQ4_XS
      for (int j = 0; j < 8; ++j) low_then_high(src + 8 + 16 * j, 16, codes + 32 * j);
  }
}

// The small scales of a superblock, and its mins where it has them.
void sub_scales(uint32_t id, const uint8_t* src, uint8_t* scales, uint8_t* mins) {
  switch (id) {
    case 10:
      for (int j = 0; j < 16; ++j) {
        scales[j] = src[j] & 15;
        mins[j] = static_cast<uint8_t>(src[j] >> 4);
      }
      return;
    case 11:
      for (int j = 0; j < 16; ++j) {
        const uint8_t* s = src + 96;
        const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4, high = (s[8 + j % 4] >> (2 * (j / 4))) & 3;
        scales[j] = static_cast<uint8_t>((low | (high << 4)) - 32);
      }
      return;
    case 12:
    case 13:
      for (int j = 0; j < 8; ++j) {
        const uint8_t* s = src + 4;
        scales[j] = static_cast<uint8_t>(j < 4 ? s[j] & 63 : (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4));
        mins[j] = static_cast<uint8_t>(j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | ((s[j] >> 6) << 4));
      }
      return;
    case 14:
      std::memcpy(scales, src + 192, 16);
      return;
    default:
      for (int j = 0; j < 8; ++j) {
        uint16_t high;
        std::memcpy(&high, src + 2, 2);
        const int low = (src[4 + j / 2] >> (4 * (j % 2))) & 15;
        scales[j] = static_cast<uint8_t>((low | (((high >> (2 * j)) & 3) << 4)) - 32);
      }
  }
}

class GgufSource : public PanelSource {
 public:
  GgufSource(const Weight& weight, const BlockType& type)
      : type_(type),
        data_(reinterpret_cast<const uint8_t*>(std::get<GgufBlocks>(weight.base).data.span().data())),
        block_bytes_(std::get<GgufBlocks>(weight.base).type->block_bytes),
        elements_(std::get<GgufBlocks>(weight.base).type->block_elements),
        blocks_(weight.cols() / elements_) {
    form.codes_kind = type.codes;
    form.scales_kind = type.scales;
    form.zero = type.zero;
    form.group_blocks = is_super(type.scales) ? 1 : elements_ / cpu::kBlockCols;
    if (type.codes == Codes::table4) {
      for (int i = 0; i < 16; ++i) form.table[i] = static_cast<uint8_t>(gguf::kIq4Values[i] + 128);
    }
  }

  void read(int64_t row, const PanelRow& to) const override {
    const uint8_t* src = data_ + row * blocks_ * block_bytes_;
    const int64_t supers = (to.form.blocks + 7) / 8;
    for (int64_t b = 0; b < blocks_; ++b, src += block_bytes_) {
      block_codes(type_.id, src, to.codes + b * elements_);
      const auto put_half = [&](uint8_t* dst, int64_t from) { std::memcpy(dst + 2 * to.lane, src + from, 2); };
      if (!is_super(type_.scales)) {
        put_half(to.scales + 32 * b, type_.d);
        if (type_.min >= 0) put_half(to.zeros + 32 * b, type_.min);
        continue;
      }
      put_half(to.zeros + 32 * b, type_.d);
      if (type_.min >= 0) put_half(to.zeros + 32 * (supers + b), type_.min);
      uint8_t scales[16], mins[16];
      sub_scales(type_.id, src, scales, mins);
      const bool has_mins = has_min(type_.scales);
      const int64_t parts = has_halves(type_.scales) ? 2 : 1, stride = 16 * parts * (has_mins ? 2 : 1);
      for (int64_t j = 0; j < 8 * parts; ++j) {
        uint8_t* entry = to.scales + (8 * b + j / parts) * stride + 16 * (j % parts) + to.lane;
        entry[0] = scales[j];
        if (has_mins) entry[16 * parts] = mins[j];
      }
    }
  }

 private:
  const BlockType& type_;
  const uint8_t* data_;
  int64_t block_bytes_, elements_, blocks_;
};

}  // namespace

std::unique_ptr<PanelSource> gguf_source(const Weight& weight) {
  for (const BlockType& type : kTypes) {
    if (type.id == std::get<GgufBlocks>(weight.base).type->id) return std::make_unique<GgufSource>(weight, type);
  }
  return gguf_table_source(weight);
}

}  // namespace pare
