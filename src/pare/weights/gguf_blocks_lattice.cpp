// Blocks of 256 elements, eight sub-blocks j of 32, each four groups l of 8: group 4 j + l. `d` is an f16 first in the
// block, except in IQ1_M.
//
// Signs: bit e of a byte makes element e of a group negative. Where only seven bits are stored, the eighth is such that
// the number of minuses is even.
#include <array>
#include <bit>
#include <cstring>
#include <initializer_list>

#include "pare/base/error.h"
#include "pare/weights/gguf_block_codecs.h"
#include "pare/weights/gguf_lattice.h"
#include "pare/weights/lattice_tables.h"

namespace pare::gguf {
namespace {

constexpr uint64_t kOnes = 0x0101010101010101ull;

uint16_t u16_at(const uint8_t* p) {
  return static_cast<uint16_t>(p[0] | (p[1] << 8));
}
// A book's entries as bytes, the first coordinate in the lowest: its level times `factor`, plus `shift`.
template <class Word, size_t entries>
void expand(const CodeBook& book, std::initializer_list<int> levels, int shift, Word* words) {
  PARE_ASSERT(book.entries == static_cast<int>(entries) && book.digits == static_cast<int>(sizeof(Word)));
  for (size_t w = 0; w < book.members.size(); ++w) {
    for (uint64_t left = book.members[w]; left != 0; left &= left - 1) {
      auto number = static_cast<int>(64 * w) + std::countr_zero(left);
      Word word = 0;
      for (int digit = 0; digit < book.digits; ++digit, number /= book.base) {
        const auto value = static_cast<uint8_t>(levels.begin()[number % book.base] + shift);
        word |= static_cast<Word>(value) << (8 * digit);
      }
      *words++ = word;
    }
  }
}

template <class Word, size_t entries>
std::array<Word, entries> expanded(const CodeBook& book, std::initializer_list<int> levels) {
  std::array<Word, entries> words;
  expand<Word, entries>(book, levels, 0, words.data());
  return words;
}

const auto& iq2_xxs_words() {
  static const auto words = expanded<uint64_t, 256>(kBookIq2Xxs, {8, 25, 43});
  return words;
}
const auto& iq2_xs_words() {
  static const auto words = expanded<uint64_t, 512>(kBookIq2Xs, {8, 25, 43});
  return words;
}
const auto& iq2_s_words() {
  static const auto words = expanded<uint64_t, 1024>(kBookIq2S, {8, 25, 43});
  return words;
}
const auto& iq3_xxs_words() {
  static const auto words = expanded<uint32_t, 256>(kBookIq3Xxs, {4, 12, 20, 28, 36, 44, 52, 62});
  return words;
}
const auto& iq3_s_words() {
  static const auto words = expanded<uint32_t, 512>(kBookIq3S, {1, 3, 5, 7, 9, 11, 13, 15});
  return words;
}
// Eighths: 8 g + 1, and from entry 2048 on 8 g - 1.
const auto& iq1_words() {
  static const auto words = [] {
    std::array<uint64_t, 4096> both;
    expand<uint64_t, 2048>(kBookIq1, {-8, 0, 8}, 1, both.data());
    expand<uint64_t, 2048>(kBookIq1, {-8, 0, 8}, -1, both.data() + 2048);
    return both;
  }();
  return words;
}

// Bytes of ones where the bit is set.
const auto& sign_masks() {
  static const auto masks = [] {
    std::array<uint64_t, 256> all{};
    for (size_t signs = 0; signs < 256; ++signs) {
      for (int e = 0; e < 8; ++e) {
        if (((signs >> e) & 1) != 0) all[signs] |= uint64_t{0xff} << (8 * e);
      }
    }
    return all;
  }();
  return masks;
}

uint8_t with_eighth(uint32_t seven) {
  seven &= 127;
  return static_cast<uint8_t>(seven | static_cast<uint32_t>(std::popcount(seven) & 1) << 7);
}

// A group's 8 values. The bytes of `word` are 1 or more, so that -v = ~v + 1 carries into no neighbour.
void put_group(int group, uint64_t word, uint64_t mask, LatticeBlock& block) {
  const uint64_t values = (word ^ mask) + (mask & kOnes);
  for (int e = 0; e < 8; ++e) block.values[8 * group + e] = static_cast<int8_t>(values >> (8 * e));
}

void put_scales(int sub_block, int first, int second, LatticeBlock& block) {
  block.scales[2 * sub_block] = static_cast<uint8_t>(2 * first + 1);
  block.scales[2 * sub_block + 1] = static_cast<uint8_t>(2 * second + 1);
}

// IQ2_XXS: f16 d | eight times { entries[4] | u32 }, the word: four times 7 bits of signs, then 4 of the scale
void read_iq2_xxs(const uint8_t* src, LatticeBlock& block) {
  const auto& words = iq2_xxs_words();
  const auto& masks = sign_masks();
  block.d = u16_at(src);
  for (int j = 0; j < 8; ++j) {
    const uint8_t* entries = src + 2 + 8 * j;
    const uint32_t rest = u32_at(entries + 4);
    const int scale = static_cast<int>(rest >> 28);
    put_scales(j, scale, scale, block);
    for (int l = 0; l < 4; ++l) put_group(4 * j + l, words[entries[l]], masks[with_eighth(rest >> (7 * l))], block);
  }
}

// IQ2_XS: f16 d | u16 codes[32] | scales[8]     a code: 9 bits of the entry, 7 of signs; a nibble a scale of 16
void read_iq2_xs(const uint8_t* src, LatticeBlock& block) {
  const auto& words = iq2_xs_words();
  const auto& masks = sign_masks();
  block.d = u16_at(src);
  for (int j = 0; j < 8; ++j) put_scales(j, src[66 + j] & 15, src[66 + j] >> 4, block);
  for (int g = 0; g < 32; ++g) {
    const uint32_t code = u16_at(src + 2 + 2 * g);
    put_group(g, words[code & 511], masks[with_eighth(code >> 9)], block);
  }
}

// IQ2_S: f16 d | entries[32] | signs[32] | qh[8] | scales[8]     bits 2 l, 2 l + 1 of qh[j] are the entry's 8th and 9th
void read_iq2_s(const uint8_t* src, LatticeBlock& block) {
  const auto& words = iq2_s_words();
  const auto& masks = sign_masks();
  block.d = u16_at(src);
  for (int j = 0; j < 8; ++j) put_scales(j, src[74 + j] & 15, src[74 + j] >> 4, block);
  for (int g = 0; g < 32; ++g) {
    const size_t high = (src[66 + g / 4] >> (2 * (g % 4))) & 3;
    put_group(g, words[src[2 + g] | (high << 8)], masks[src[34 + g]], block);
  }
}

// IQ3_XXS: f16 d | entries[64] | u32[8]     two entries of 4 to a group; the words as in IQ2_XXS
void read_iq3_xxs(const uint8_t* src, LatticeBlock& block) {
  const auto& words = iq3_xxs_words();
  const auto& masks = sign_masks();
  block.d = u16_at(src);
  for (int j = 0; j < 8; ++j) {
    const uint32_t rest = u32_at(src + 66 + 4 * j);
    const int scale = static_cast<int>(rest >> 28);
    put_scales(j, scale, scale, block);
    for (int l = 0; l < 4; ++l) {
      const uint8_t* entries = src + 2 + 8 * j + 2 * l;
      const uint64_t word = words[entries[0]] | (static_cast<uint64_t>(words[entries[1]]) << 32);
      put_group(4 * j + l, word, masks[with_eighth(rest >> (7 * l))], block);
    }
  }
}

// IQ3_S: f16 d | entries[64] | qh[8] | signs[32] | scales[4]     bit i of qh[j] is the 8th of entry 8 j + i; a nibble a
// scale of 32
void read_iq3_s(const uint8_t* src, LatticeBlock& block) {
  const auto& words = iq3_s_words();
  const auto& masks = sign_masks();
  block.d = u16_at(src);
  for (int j = 0; j < 8; ++j) {
    const int scale = (src[106 + j / 2] >> (4 * (j % 2))) & 15;
    put_scales(j, scale, scale, block);
    const size_t qh = src[66 + j];
    for (int l = 0; l < 4; ++l) {
      const auto entry = [&](int i) { return words[src[2 + 8 * j + i] | (((qh >> i) & 1) << 8)]; };
      const uint64_t word = entry(2 * l) | (static_cast<uint64_t>(entry(2 * l + 1)) << 32);
      put_group(4 * j + l, word, masks[src[74 + 4 * j + l]], block);
    }
  }
}

// IQ1_S: f16 d | entries[32] | u16 qh[8]     of qh[j] bits 3 l .. 3 l + 2 are the entry's 8th to 10th, 12 .. 14 the
// scale, and 15 says that all values are an eighth less than the book's, not more
void read_iq1_s(const uint8_t* src, LatticeBlock& block) {
  const auto& words = iq1_words();
  block.d = u16_at(src);
  for (int j = 0; j < 8; ++j) {
    const size_t qh = u16_at(src + 34 + 2 * j);
    const int scale = static_cast<int>((qh >> 12) & 7);
    put_scales(j, scale, scale, block);
    for (int l = 0; l < 4; ++l) {
      const size_t entry = src[2 + 4 * j + l] | (((qh >> (3 * l)) & 7) << 8) | ((qh >> 15) << 11);
      put_group(4 * j + l, words[entry], 0, block);
    }
  }
}

// IQ1_M: entries[32] | qh[16] | u16 scales[4]     a nibble of qh a group: three bits of the entry, one of less or more;
// 3 bits of a scale of 16 from bit 3 (i % 4) of scales[i / 4]; the words' high nibbles together, lowest first, are d
void read_iq1_m(const uint8_t* src, LatticeBlock& block) {
  const auto& words = iq1_words();
  uint32_t d = 0;
  for (int i = 0; i < 4; ++i) d |= static_cast<uint32_t>(u16_at(src + 48 + 2 * i) >> 12) << (4 * i);
  block.d = static_cast<uint16_t>(d);
  for (int j = 0; j < 8; ++j) {
    const int pair = u16_at(src + 48 + 2 * (j / 2)) >> (6 * (j % 2));
    put_scales(j, pair & 7, (pair >> 3) & 7, block);
  }
  for (int g = 0; g < 32; ++g) {
    const size_t high = (src[32 + g / 2] >> (4 * (g % 2))) & 15;
    put_group(g, words[src[g] | (high << 8)], 0, block);
  }
}

constexpr LatticeType kTypes[] = {
    {16, 66, 0.125f, false, {-43, -25, -8, 8, 25, 43}, read_iq2_xxs},
    {17, 74, 0.125f, true, {-43, -25, -8, 8, 25, 43}, read_iq2_xs},
    {18, 98, 0.25f, false, {-62, -52, -44, -36, -28, -20, -12, -4, 4, 12, 20, 28, 36, 44, 52, 62}, read_iq3_xxs},
    {19, 50, 0.125f, false, {-9, -7, -1, 1, 7, 9}, read_iq1_s},
    {21, 110, 1.0f, false, {-15, -13, -11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15}, read_iq3_s},
    {22, 82, 0.125f, true, {-43, -25, -8, 8, 25, 43}, read_iq2_s},
    {29, 56, 0.125f, true, {-9, -7, -1, 1, 7, 9}, read_iq1_m},
};

}  // namespace

const LatticeType* lattice_type(uint32_t id) {
  for (const LatticeType& type : kTypes) {
    if (type.id == id) return &type;
  }
  return nullptr;
}

template <uint32_t id>
void decode_lattice(const uint8_t* src, int64_t blocks, float* dst) {
  const LatticeType& type = *lattice_type(id);
  LatticeBlock block;
  for (int64_t i = 0; i < blocks; ++i, src += type.block_bytes) {
    type.read(src, block);
    const float d = f16_to_float(block.d) * type.unit;
    for (int j = 0; j < 16; ++j, dst += 16) {
      const float scale = d * static_cast<float>(block.scales[j]);
      for (int e = 0; e < 16; ++e) dst[e] = scale * static_cast<float>(block.values[16 * j + e]);
    }
  }
}
template void decode_lattice<16>(const uint8_t* src, int64_t blocks, float* dst);
template void decode_lattice<17>(const uint8_t* src, int64_t blocks, float* dst);
template void decode_lattice<18>(const uint8_t* src, int64_t blocks, float* dst);
template void decode_lattice<19>(const uint8_t* src, int64_t blocks, float* dst);
template void decode_lattice<21>(const uint8_t* src, int64_t blocks, float* dst);
template void decode_lattice<22>(const uint8_t* src, int64_t blocks, float* dst);
template void decode_lattice<29>(const uint8_t* src, int64_t blocks, float* dst);

}  // namespace pare::gguf
