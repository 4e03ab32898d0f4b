#include "pare/weights/gguf_blocks.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "pare/base/float_types.h"
#include "pare/base/random.h"

namespace pare {
namespace {

struct Layout {
  const char* type;
  std::vector<size_t> f16_offsets;  // of the scales in a block
};
const std::vector<Layout> kLayouts{
    {"Q4_0", {0}},      {"Q4_1", {0, 2}}, {"Q5_0", {0}},    {"Q5_1", {0, 2}}, {"Q8_0", {0}},
    {"Q2_K", {80, 82}}, {"Q3_K", {108}},  {"Q4_K", {0, 2}}, {"Q5_K", {0, 2}}, {"Q6_K", {208}},
    {"IQ4_NL", {0}},    {"IQ4_XS", {0}},  {"IQ1_S", {0}},   {"IQ1_M", {54}},  {"IQ2_XXS", {0}},
    {"IQ2_XS", {0}},    {"IQ2_S", {0}},   {"IQ3_XXS", {0}}, {"IQ3_S", {0}},   {"TQ1_0", {52}},
    {"TQ2_0", {64}},    {"MXFP4", {}},    {"NVFP4", {}},    {"Q1_0", {0}},    {"Q2_0", {0}}};

const GgmlType& type_named(const std::string& name) {
  const GgmlType* type = ggml_type_named(name);
  EXPECT_NE(type, nullptr) << name;
  return *type;
}

// Any bytes but for the scales, which are kept finite.
std::vector<std::byte> random_blocks(const Layout& layout, int64_t blocks) {
  const GgmlType& type = type_named(layout.type);
  const CounterRandom random(7, layout.type);
  std::vector<std::byte> bytes(static_cast<size_t>(blocks * type.block_bytes));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(random.bits(i));
  for (size_t b = 0; b < bytes.size(); b += static_cast<size_t>(type.block_bytes)) {
    for (size_t offset : layout.f16_offsets) bytes[b + offset + 1] &= std::byte{0xbf};
  }
  return bytes;
}

std::vector<float> decoded(const GgmlType& type, const std::vector<std::byte>& bytes) {
  std::vector<float> values(bytes.size() / static_cast<size_t>(type.block_bytes * 1) *
                            static_cast<size_t>(type.block_elements));
  decode_blocks(type, bytes, values);
  return values;
}

uint64_t hash(const auto& words) {  // FNV-1a over whole items
  uint64_t h = 0xcbf29ce484222325ull;
  for (const auto word : words) h = (h ^ static_cast<uint64_t>(word)) * 0x100000001b3ull;
  return h;
}

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  std::string digits;
  for (char c : text) {
    if (c != ' ') digits += c;
  }
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<std::byte> encoded(const char* name, const std::vector<float>& values) {
  const GgmlType& type = type_named(name);
  std::vector<std::byte> bytes(values.size() / static_cast<size_t>(type.block_elements) *
                               static_cast<size_t>(type.block_bytes));
  encode_blocks(type, values, bytes);
  return bytes;
}

TEST(GgufBlocks, DecodeToTheBitsThatThePeerDecodesTo) {
  // FNV of gguf 0.19.0's quants.dequantize, and of ggml's own, on the same forty blocks: tests/oracles/gguf_blocks.py
  const std::vector<std::pair<const char*, uint64_t>> golden{
      {"Q4_0", 0xaf5bad9552d18725ull},   {"Q4_1", 0x8dbb80c56eeaae22ull},   {"Q5_0", 0x353ad909b5533d25ull},
      {"Q5_1", 0x45157eda02999abbull},   {"Q8_0", 0xf950ab2df5c95825ull},   {"Q2_K", 0x3d579c910ab2c5d8ull},
      {"Q3_K", 0xd8200c76bcbfff65ull},   {"Q4_K", 0x2f5110ec3e71185full},   {"Q5_K", 0xcba3e85992702209ull},
      {"Q6_K", 0x56baa3d3fb16f1dbull},   {"IQ4_NL", 0x98ff29912f86a225ull}, {"IQ4_XS", 0x30b3d14e5540ecf7ull},
      {"IQ1_S", 0x7dcbf023408dc825ull},  {"IQ1_M", 0xdc3e3d5c77924c45ull},  {"IQ2_XXS", 0xcdc72d32b793f051ull},
      {"IQ2_XS", 0x09482f8caf9b6121ull}, {"IQ2_S", 0x2c96187e9c945095ull},  {"IQ3_XXS", 0xb1e7a41bed6727b5ull},
      {"IQ3_S", 0x41f78e00eff29505ull},  {"TQ1_0", 0x5386cef19b814325ull},  {"TQ2_0", 0xee72a7373a456325ull},
      {"MXFP4", 0x024260027df20725ull},  {"NVFP4", 0x29ff1a65c765eb25ull},  {"Q1_0", 0xf8f78f59287cb325ull},
      {"Q2_0", 0x3cb396da23a94b25ull}};
  ASSERT_EQ(golden.size(), kLayouts.size());
  for (size_t i = 0; i < golden.size(); ++i) {
    ASSERT_STREQ(golden[i].first, kLayouts[i].type);
    const std::vector<float> values = decoded(type_named(golden[i].first), random_blocks(kLayouts[i], 40));
    std::vector<uint32_t> words;
    for (float value : values) words.push_back(std::bit_cast<uint32_t>(value));
    EXPECT_EQ(hash(words), golden[i].second) << golden[i].first;
  }
}

TEST(GgufBlocks, EncodeToTheBytesThatThePeerEncodesTo) {
  // FNV of gguf 0.19.0's quants.quantize; a zero block, a constant block, then uniform values
  const std::vector<std::pair<const char*, uint64_t>> golden{
      {"Q4_0", 0x619320f3105d4b74ull}, {"Q4_1", 0xdf1960e975aace20ull}, {"Q8_0", 0xe03c582cd7718efbull}};
  for (const auto& [name, expected] : golden) {
    const CounterRandom random(9, name);
    std::vector<float> values(32 * 200);
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = i < 32 ? 0.0f : i < 64 ? 0.25f : static_cast<float>(random.bits(i) & 0xffffff) / 0x1p23f - 1;
    }
    EXPECT_EQ(hash(encoded(name, values)), expected) << name;
  }
}

TEST(GgufBlocks, TheVectorsOfTheFormatPage) {
  std::vector<float> ramp(32), steps(32);
  for (size_t j = 0; j < 32; ++j) {
    ramp[j] = static_cast<float>(j) - 16;
    steps[j] = static_cast<float>(j);
  }
  EXPECT_EQ(encoded("Q4_0", ramp), from_hex("0040 80 91 91 a2 a2 b3 b3 c4 c4 d5 d5 e6 e6 f7 f7 f8"));
  EXPECT_EQ(encoded("Q4_1", ramp), from_hex("2240 00cc 80 80 91 91 a2 a2 b3 b3 c4 c4 d5 d5 e6 e6 f7 f7"));
  const std::vector<std::byte> q8 = encoded("Q8_0", steps);
  std::vector<int> codes{0xd0, 0x33, 0,  4,  8,  12, 16, 20, 25, 29, 33,  37,  41,  45,  49,  53,  57,
                         61,   66,   70, 74, 78, 82, 86, 90, 94, 98, 102, 107, 111, 115, 119, 123, 127};
  for (size_t i = 0; i < codes.size(); ++i) EXPECT_EQ(std::to_integer<int>(q8[i]), codes[i]) << i;

  std::vector<std::byte> q5 = from_hex("003c 0000ffff");  // d = 1, the second half has the fifth bit
  for (int j = 0; j < 16; ++j) q5.push_back(static_cast<std::byte>(j * 0x11));
  const std::vector<float> values = decoded(type_named("Q5_0"), q5);
  for (size_t j = 0; j < 32; ++j) EXPECT_EQ(values[j], ramp[j]) << j;
}

// Q4_K, Q3_K: packed sub-scales of the format page; every code 1 (or high bit set), so that values show the scales.
TEST(GgufBlocks, SubScalesComeFromTheirPackedPlaces) {
  std::vector<std::byte> q4k = from_hex("003c 003c cad4de28 85cfd923 d27cef21");
  q4k.resize(144, std::byte{0x11});
  const int sc[] = {10, 20, 30, 40, 50, 60, 63, 1}, m[] = {5, 15, 25, 35, 45, 55, 62, 2};
  const std::vector<float> k4 = decoded(type_named("Q4_K"), q4k);
  for (int e = 0; e < 256; ++e) ASSERT_EQ(k4[static_cast<size_t>(e)], static_cast<float>(sc[e / 32] - m[e / 32])) << e;

  std::vector<std::byte> q3k(96, std::byte{0x55});  // qs: every pair of bits 01
  for (size_t i = 0; i < 32; ++i) q3k[i] = std::byte{0xff};
  for (std::byte b : from_hex("004488cc 004488cc e4e4e4e4 003c")) q3k.push_back(b);
  const std::vector<float> k3 = decoded(type_named("Q3_K"), q3k);
  for (int e = 0; e < 256; ++e) ASSERT_EQ(k3[static_cast<size_t>(e)], static_cast<float>(-32 + 4 * (e / 16))) << e;
}

TEST(GgufBlocks, Q6KTakesEachElementFromItsPlaces) {
  struct Place {
    size_t element, ql, ql_shift, qh, qh_shift, scale;
  };
  for (const Place& p : {Place{31, 31, 0, 31, 0, 1}, Place{32, 32, 0, 0, 2, 2}, Place{64, 0, 4, 0, 4, 4},
                         Place{96, 32, 4, 0, 6, 6}, Place{127, 63, 4, 31, 6, 7}, Place{255, 127, 4, 63, 6, 15}}) {
    std::vector<std::byte> block(210);
    block[p.ql] = static_cast<std::byte>(5 << p.ql_shift);
    block[128 + p.qh] = static_cast<std::byte>(3 << p.qh_shift);
    block[192 + p.scale] = std::byte{7};
    block[209] = std::byte{0x3c};  // d = 1
    EXPECT_EQ(decoded(type_named("Q6_K"), block)[p.element], 7.0f * (5 + 48 - 32)) << p.element;
  }
}

TEST(GgufBlocks, EveryCodeOfEveryEncodableGridSurvives) {
  for (const char* name : {"Q4_0", "Q4_1", "Q8_0"}) {
    const GgmlType& type = type_named(name);
    std::vector<std::byte> block(static_cast<size_t>(type.block_bytes));
    block[1] = std::byte{0x38};  // d = 0.5
    const bool q8 = type.id == 8;
    const size_t codes_at = type.id == 3 ? 4 : 2;
    if (type.id == 3) block[3] = std::byte{0xc4};  // m = -4
    for (int first = 0; first < (q8 ? 255 : 16); first += 31) {
      for (size_t j = codes_at; j < block.size(); ++j) {
        const int code = first + static_cast<int>(j - codes_at);
        // -127 .. 127: ggml never writes -128
        block[j] = static_cast<std::byte>(q8 ? std::min(code, 254) - 127 : (code & 15) | ((15 - (code & 15)) << 4));
      }
      if (q8) block[codes_at] = std::byte{127};  // the largest magnitude fixes d
      const std::vector<float> values = decoded(type, block);
      EXPECT_EQ(decoded(type, encoded(name, values)), values) << name << " from code " << first;
    }
  }
}

TEST(GgufBlocks, FloatTypesPassThrough) {
  const std::vector<float> values{0.0f, -0.0f, 1.0f, -2.5f, 0x1p-14f, 65504.0f, 3.140625f};
  for (const char* name : {"F32", "F16", "BF16"}) {
    std::vector<float> kept = values;
    if (std::string(name) == "BF16") kept[5] = 65536.0f;
    EXPECT_EQ(decoded(type_named(name), encoded(name, values)), kept) << name;
  }
}

TEST(GgufBlocks, ErrorOnGaussianWeightsIsThatOfThePage) {
  std::vector<float> values(1024 * 512);
  const CounterRandom random(3, "gaussian");
  for (size_t i = 0; i < values.size(); i += 2) {
    const double radius = std::sqrt(-2 * std::log(1 - random.uniform(i))), angle = 2 * M_PI * random.uniform(i + 1);
    values[i] = static_cast<float>(radius * std::cos(angle));
    values[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
  // mean squared error on N(0, 1). Q4_1 is not on the page: steps of range/15, 30 of 32 values off the grid, so
  // E[range^2] / 225 / 12 * 30/32 with E[range^2] = 17.7 for 32 normal values
  const std::vector<std::pair<const char*, double>> expected{{"Q4_0", .00738}, {"Q4_1", .00615}, {"Q8_0", 2.9e-5}};
  for (const auto& [name, error] : expected) {
    const std::vector<float> back = decoded(type_named(name), encoded(name, values));
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += (back[i] - values[i]) * static_cast<double>(back[i] - values[i]);
    EXPECT_NEAR(sum / static_cast<double>(values.size()), error, 0.03 * error) << name;
  }
}

TEST(GgufBlocks, BrokenNumbersDoNotBreakTheEncoders) {
  std::vector<float> values(32, 1.0f);
  values[3] = std::nanf("");
  values[5] = INFINITY;
  values[7] = -1e30f;
  for (const char* name : {"Q4_0", "Q4_1", "Q8_0"}) encoded(name, values);  // no undefined conversion (sanitizers)
  values.assign(32, 1e-44f);                                                // 1/d overflows
  for (const char* name : {"Q4_0", "Q4_1", "Q8_0"}) {
    for (float value : decoded(type_named(name), encoded(name, values))) EXPECT_TRUE(std::isfinite(value)) << name;
  }
}

TEST(GgufBlocks, SaysWhatItCanDo) {
  for (const Layout& layout : kLayouts) EXPECT_TRUE(can_decode(type_named(layout.type))) << layout.type;
  EXPECT_TRUE(can_encode(type_named("BF16")));
  EXPECT_FALSE(can_encode(type_named("Q6_K")));
  EXPECT_FALSE(can_encode(type_named("IQ2_XXS")));
  EXPECT_FALSE(can_decode(type_named("I32")));
}

}  // namespace
}  // namespace pare
