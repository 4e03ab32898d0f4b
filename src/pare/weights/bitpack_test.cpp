#include "pare/weights/bitpack.h"

#include <gtest/gtest.h>

#include <vector>

#include "pare/base/random.h"

namespace pare {
namespace {

// Bit by bit, as the header says it.
std::vector<uint8_t> pack_slowly(const std::vector<uint8_t>& codes, int bits) {
  std::vector<uint8_t> bytes(static_cast<size_t>(packed_bytes(static_cast<int64_t>(codes.size()), bits)));
  for (size_t i = 0; i < codes.size(); ++i) {
    for (int b = 0; b < bits; ++b) {
      const size_t at = i * static_cast<size_t>(bits) + static_cast<size_t>(b);
      if ((codes[i] >> b) & 1) bytes[at / 8] = static_cast<uint8_t>(bytes[at / 8] | (1u << (at % 8)));
    }
  }
  return bytes;
}

TEST(Bitpack, AgreesWithTheDefinitionForEveryWidthAndAwkwardCount) {
  const CounterRandom random(1, "bitpack");
  for (int bits = 1; bits <= 8; ++bits) {
    for (int64_t count : {0, 1, 2, 3, 5, 7, 8, 9, 15, 31, 32, 33, 127, 129, 1000}) {
      SCOPED_TRACE(std::to_string(bits) + " bits, " + std::to_string(count) + " codes");
      std::vector<uint8_t> codes(static_cast<size_t>(count));
      for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(random.below(i, 1u << bits));
      std::vector<uint8_t> bytes(static_cast<size_t>(packed_bytes(count, bits)), 0xa5);
      pack_bits(codes, bits, bytes);
      EXPECT_EQ(bytes, pack_slowly(codes, bits));
      std::vector<uint8_t> back(codes.size(), 0xa5);
      unpack_bits(bytes, bits, back);
      EXPECT_EQ(back, codes);
    }
  }
}

TEST(Bitpack, EightFourBitCodesMakeTheWordThatGptqCheckpointsHold) {
  const std::vector<uint8_t> codes{0, 1, 2, 3, 4, 5, 6, 7};
  std::vector<uint8_t> bytes(4);
  pack_bits(codes, 4, bytes);
  EXPECT_EQ(bytes, (std::vector<uint8_t>{0x10, 0x32, 0x54, 0x76}));
}

TEST(Bitpack, ThreeBitStreamIsContinuousOverThreeWords) {
  std::vector<uint8_t> codes(32), bytes(12);
  for (size_t i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(i % 8);
  pack_bits(codes, 3, bytes);
  EXPECT_EQ(bytes, (std::vector<uint8_t>{0x88, 0xc6, 0xfa, 0x88, 0xc6, 0xfa, 0x88, 0xc6, 0xfa, 0x88, 0xc6, 0xfa}));
}

}  // namespace
}  // namespace pare
