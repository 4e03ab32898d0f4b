#include "pare/weights/gguf_lattice.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "pare/base/random.h"
#include "pare/weights/gguf_block_codecs.h"
#include "pare/weights/gguf_blocks.h"
#include "pare/weights/lattice_tables.h"

namespace pare::gguf {
namespace {

const CodeBook* const kBooks[] = {&kBookIq1, &kBookIq2Xxs, &kBookIq2Xs, &kBookIq2S, &kBookIq3Xxs, &kBookIq3S};

bool is_member(const CodeBook& book, int point) {
  return ((book.members[static_cast<size_t>(point / 64)] >> (point % 64)) & 1) != 0;
}

// One coordinate of an entry, found by counting.
int digit_of(const CodeBook& book, int entry, int which) {
  int point = -1;
  for (int found = -1; found < entry;) found += is_member(book, ++point) ? 1 : 0;
  for (int i = 0; i < which; ++i) point /= book.base;
  return point % book.base;
}

TEST(LatticeTables, BooksHaveAsManyEntriesAsCodesCanName) {
  for (const CodeBook* book : kBooks) {
    const int points = static_cast<int>(std::pow(book->base, book->digits));
    int members = 0;
    for (int point = 0; point < 64 * static_cast<int>(book->members.size()); ++point) {
      const bool member = is_member(*book, point);
      members += member ? 1 : 0;
      EXPECT_TRUE(!member || point < points) << point;
    }
    EXPECT_EQ(members, book->entries);
  }
}

TEST(LatticeTables, TheBooksOf2BitsHaveTheMiddleLevelAnEvenNumberOfTimes) {  // so do all points of their lattice
  for (const CodeBook* book : {&kBookIq2Xxs, &kBookIq2Xs, &kBookIq2S}) {
    for (int point = 0; point < 6561; ++point) {
      if (!is_member(*book, point)) continue;
      int middles = 0;
      for (int left = point; left > 0; left /= 3) middles += left % 3 == 1 ? 1 : 0;
      EXPECT_EQ(middles % 2, 0) << point;
    }
  }
}

// A block as one long number, lowest bit first.
struct Bits {
  const std::vector<std::byte>& block;
  int operator()(int from, int count) const {
    int value = 0;
    for (int i = 0; i < count; ++i) {
      const int bit = from + i;
      value |= ((std::to_integer<int>(block[static_cast<size_t>(bit / 8)]) >> (bit % 8)) & 1) << i;
    }
    return value;
  }
};

double half(int bits) {
  return static_cast<double>(f16_to_float(static_cast<uint16_t>(bits)));
}
double minus_if(int bit) {
  return bit != 0 ? -1 : 1;
}
// Sign e of 8 whose first 7 are stored at `at`.
double sign_of_7(const Bits& bits, int at, int e) {
  if (e < 7) return minus_if(bits(at + e, 1));
  int sum = 0;
  for (int i = 0; i < 7; ++i) sum += bits(at + i, 1);
  return minus_if(sum % 2);
}
constexpr int kLevels2[] = {8, 25, 43}, kLevels3[] = {4, 12, 20, 28, 36, 44, 52, 62};

// The definitions by places of bits, e the element's index; bytes of blocks: d is at 0 unless said.
double iq2_xxs(const Bits& bits, int e) {
  const int j = e / 32, l = e % 32 / 8, words = 16 + 64 * j;
  const int level = kLevels2[digit_of(kBookIq2Xxs, bits(words + 8 * l, 8), e % 8)];
  return half(bits(0, 16)) * (0.5 + bits(words + 60, 4)) / 4 * level * sign_of_7(bits, words + 32 + 7 * l, e % 8);
}
double iq2_xs(const Bits& bits, int e) {
  const int code = 16 + 16 * (e / 8), scale = bits(66 * 8 + 4 * (e / 16), 4);
  const int level = kLevels2[digit_of(kBookIq2Xs, bits(code, 9), e % 8)];
  return half(bits(0, 16)) * (0.5 + scale) / 4 * level * sign_of_7(bits, code + 9, e % 8);
}
double iq2_s(const Bits& bits, int e) {
  const int entry = bits(16 + e / 8 * 8, 8) + 256 * bits(66 * 8 + 2 * (e / 8), 2);
  const int scale = bits(74 * 8 + 4 * (e / 16), 4), level = kLevels2[digit_of(kBookIq2S, entry, e % 8)];
  return half(bits(0, 16)) * (0.5 + scale) / 4 * level * minus_if(bits(34 * 8 + e, 1));
}
double iq3_xxs(const Bits& bits, int e) {
  const int word = 66 * 8 + 32 * (e / 32), level = kLevels3[digit_of(kBookIq3Xxs, bits(16 + e / 4 * 8, 8), e % 4)];
  return half(bits(0, 16)) * (0.5 + bits(word + 28, 4)) / 2 * level * sign_of_7(bits, word + 7 * (e % 32 / 8), e % 8);
}
double iq3_s(const Bits& bits, int e) {
  const int entry = bits(16 + e / 4 * 8, 8) + 256 * bits(66 * 8 + e / 4, 1);
  const int level = 2 * digit_of(kBookIq3S, entry, e % 4) + 1;
  return half(bits(0, 16)) * (1 + 2 * bits(106 * 8 + 4 * (e / 32), 4)) * level * minus_if(bits(74 * 8 + e, 1));
}
double iq1_s(const Bits& bits, int e) {
  const int qh = 34 * 8 + 16 * (e / 32);
  const int entry = bits(16 + e / 8 * 8, 8) + 256 * bits(qh + 3 * (e % 32 / 8), 3);
  const double delta = 0.125 * minus_if(bits(qh + 15, 1));
  return half(bits(0, 16)) * (2 * bits(qh + 12, 3) + 1) * (digit_of(kBookIq1, entry, e % 8) - 1 + delta);
}
double iq1_m(const Bits& bits, int e) {
  int d = 0;
  for (int i = 0; i < 4; ++i) d |= bits(48 * 8 + 16 * i + 12, 4) << (4 * i);
  const int entry = bits(e / 8 * 8, 8) + 256 * bits(32 * 8 + 4 * (e / 8), 3);
  const int scale = bits(48 * 8 + 16 * (e / 64) + 3 * (e % 64 / 16), 3);
  const double delta = 0.125 * minus_if(bits(32 * 8 + 4 * (e / 8) + 3, 1));
  return half(d) * (2 * scale + 1) * (digit_of(kBookIq1, entry, e % 8) - 1 + delta);
}

TEST(GgufLattice, BlocksMeanWhatTheirBitsSay) {
  const std::vector<std::pair<const char*, std::function<double(const Bits&, int)>>> definitions{
      {"IQ1_S", iq1_s}, {"IQ1_M", iq1_m},     {"IQ2_XXS", iq2_xxs}, {"IQ2_XS", iq2_xs},
      {"IQ2_S", iq2_s}, {"IQ3_XXS", iq3_xxs}, {"IQ3_S", iq3_s}};
  for (const auto& [name, definition] : definitions) {
    const GgmlType& type = *ggml_type_named(name);
    const LatticeType& lattice = *lattice_type(type.id);
    const std::set<int> levels(std::begin(lattice.levels), std::end(lattice.levels));
    EXPECT_EQ(lattice.block_bytes, type.block_bytes);
    for (uint64_t seed : {1, 2, 3}) {
      SCOPED_TRACE(std::string(name) + ", seed " + std::to_string(seed));
      const CounterRandom random(seed, name);
      std::vector<std::byte> block(static_cast<size_t>(type.block_bytes));
      for (size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::byte>(random.bits(i));
      block[type.id == 29 ? 55 : 1] &= std::byte{0xbf};  // finite
      std::vector<float> values(256);
      decode_blocks(type, block, values);
      LatticeBlock parts;
      lattice.read(reinterpret_cast<const uint8_t*>(block.data()), parts);
      for (int e = 0; e < 256; ++e) {
        ASSERT_EQ(values[static_cast<size_t>(e)], definition(Bits{block}, e)) << e;
        ASSERT_EQ(levels.count(parts.values[e]), 1u) << e;
        ASSERT_TRUE(lattice.halves || parts.scales[e / 32 * 2] == parts.scales[e / 16]) << e;
      }
    }
  }
}

TEST(GgufLattice, TernaryBlocksMeanWhatTheirBitsSay) {
  struct Type {
    const char* name;
    int d_at;
    std::function<int(const Bits&, int)> code;
  };
  const auto trit = [](int byte, int n) {  // what 3^n brings over the point
    double fraction = byte / 256.0;
    for (int i = 0; i < n; ++i) fraction = 3 * fraction - std::floor(3 * fraction);
    return static_cast<int>(3 * fraction);
  };
  const std::vector<Type> types{
      {"Q1_0", 0, [](const Bits& bits, int e) { return 2 * bits(16 + e, 1); }},
      {"Q2_0", 0, [](const Bits& bits, int e) { return bits(16 + 2 * e, 2); }},
      {"TQ2_0", 64,
       [](const Bits& bits, int e) { return bits(8 * (32 * (e / 128) + e % 32) + 2 * (e % 128 / 32), 2); }},
      {"TQ1_0", 52, [&](const Bits& bits, int e) {
         if (e < 160) return trit(bits(8 * (e % 32), 8), e / 32);
         if (e < 240) return trit(bits(8 * (32 + e % 16), 8), (e - 160) / 16);
         return trit(bits(8 * (48 + e % 4), 8), (e - 240) / 4);
       }}};
  for (const auto& [name, d_at, code] : types) {
    const GgmlType& type = *ggml_type_named(name);
    const CounterRandom random(5, name);
    std::vector<std::byte> block(static_cast<size_t>(type.block_bytes));
    for (size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::byte>(random.bits(i));
    block[static_cast<size_t>(d_at) + 1] &= std::byte{0xbf};
    std::vector<float> values(static_cast<size_t>(type.block_elements));
    decode_blocks(type, block, values);
    const Bits bits{block};
    for (int e = 0; e < static_cast<int>(values.size()); ++e) {
      ASSERT_EQ(values[static_cast<size_t>(e)], (code(bits, e) - 1) * half(bits(8 * d_at, 16))) << name << " " << e;
    }
  }
}

TEST(GgufFp4, ScalesOfAllBytesAreExact) {
  for (int e = 0; e < 256; ++e) {
    EXPECT_EQ(bf16_to_float(half_e8m0_as_bf16(static_cast<uint8_t>(e))), std::ldexp(1.0, e - 128)) << e;
    const int exponent = (e >> 3) & 15, mantissa = e & 7;
    const double scale = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(1 + mantissa / 8.0, exponent - 7);
    EXPECT_EQ(f16_to_float(half_ue4m3_as_f16(static_cast<uint8_t>(e))), e == 0x7f ? 0 : scale / 2) << e;
  }
}

}  // namespace
}  // namespace pare::gguf
