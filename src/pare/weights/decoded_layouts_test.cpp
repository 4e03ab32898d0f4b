// FP8, int8, AWQ, NF4 and AQLM: each against its definition, element by element, and named malformed tensors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <functional>
#include <limits>

#include "pare/base/error.h"
#include "pare/base/random.h"
#include "pare/weights/aqlm_layout.h"
#include "pare/weights/awq_layout.h"
#include "pare/weights/fp8_layout.h"
#include "pare/weights/int8_layout.h"
#include "pare/weights/nf4_layout.h"

namespace pare {
namespace {

using testing::HasSubstr;

// Keeps the bytes that views point to.
class Store {
 public:
  template <class T>
  StoredView view(const std::string& name, Dtype dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    return bytes_view(name, dtype, std::move(shape), {bytes.begin(), bytes.end()});
  }
  StoredView floats(const std::string& name, Dtype dtype, std::vector<int64_t> shape,
                    const std::vector<float>& values) {
    std::vector<std::byte> bytes(values.size() * static_cast<size_t>(size_of(dtype)));
    from_float(dtype, values.data(), static_cast<int64_t>(values.size()), bytes.data());
    return bytes_view(name, dtype, std::move(shape), std::move(bytes));
  }
  StoredView text(const std::string& name, const std::string& text) {
    return view(name, Dtype::u8, {static_cast<int64_t>(text.size())}, std::vector<char>(text.begin(), text.end()));
  }

 private:
  StoredView bytes_view(const std::string& name, Dtype dtype, std::vector<int64_t> shape,
                        std::vector<std::byte> bytes) {
    kept_.push_back(std::move(bytes));
    return {name, dtype, std::move(shape), kept_.back()};
  }
  std::deque<std::vector<std::byte>> kept_;
};

template <class T>
std::vector<T> random_bytes(size_t count, uint64_t seed) {
  const CounterRandom random(seed, "bytes");
  std::vector<T> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<T>(random.bits(i));
  return values;
}

std::vector<float> some_scales(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = 0.0625f * static_cast<float>(i % 29 + 1);
  return values;
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

// Sign, four bits of exponent with bias 7, three of mantissa; no infinities.
float e4m3(uint8_t bits) {
  const int exponent = (bits >> 3) & 15, mantissa = bits & 7;
  const double magnitude = exponent == 0 ? mantissa * std::pow(2.0, -9) : (8 + mantissa) * std::pow(2.0, exponent - 10);
  return static_cast<float>((bits & 0x80) != 0 ? -magnitude : magnitude);
}

std::vector<uint8_t> fp8_codes(size_t count) {
  auto codes = random_bytes<uint8_t>(count, 5);
  for (uint8_t& code : codes) {
    if ((code & 0x7f) == 0x7f) code = 0;  // not a number
  }
  return codes;
}

TEST(Fp8Layout, EveryValueIsItsCodeTimesTheScaleOfItsBlock) {
  struct Case {
    std::vector<int64_t> scale_shape;
    int64_t rows, cols;  // of a block
    std::string words;
  };
  constexpr int64_t kOut = 19, kIn = 37;
  for (const Case& c :
       {Case{{}, kOut, kIn, "FP8, one scale"}, Case{{1}, kOut, kIn, "FP8, one scale"},
        Case{{kOut, 1}, 1, kIn, "FP8, a scale a row"}, Case{{kOut}, 1, kIn, "FP8, a scale a row"},
        Case{{3, 5}, 8, 9, "FP8, a scale each 8 x 9"}, Case{{kOut, 3}, 1, 16, "FP8, a scale each 1 x 16"}}) {
    SCOPED_TRACE(c.words);
    Store store;
    const auto codes = fp8_codes(kOut * kIn);
    const int64_t across = (kIn + c.cols - 1) / c.cols, down = (kOut + c.rows - 1) / c.rows;
    const auto scales = some_scales(static_cast<size_t>(across * down));
    const Fp8Parts parts{store.view("m.weight", Dtype::f8_e4m3, {kOut, kIn}, codes),
                         store.floats("m.weight_scale", Dtype::bf16, c.scale_shape, scales)};
    const std::vector<Fp8Block> blocks{{128, 128}, {8, 9}, {1, 16}};
    const Weight weight = unpack_fp8(parts, blocks);
    EXPECT_EQ(form_of(weight).describe(), fp8_form(parts, blocks).describe());
    EXPECT_EQ(fp8_words(parts, blocks), c.words);
    const auto values = weight.unpack();
    for (int64_t i = 0; i < kOut * kIn; ++i) {
      const float scale = scales[static_cast<size_t>(i / kIn / c.rows * across + i % kIn / c.cols)];
      ASSERT_EQ(values[static_cast<size_t>(i)], e4m3(codes[static_cast<size_t>(i)]) * scale) << i;
    }
  }
}

TEST(Fp8Layout, MalformedTensorsAreNamed) {
  Store store;
  const auto read = [&](const std::function<void(Fp8Parts&)>& damage) {
    Fp8Parts parts{store.view("m.weight", Dtype::f8_e4m3, {4, 8}, fp8_codes(32)),
                   store.floats("m.weight_scale", Dtype::f32, {4, 1}, some_scales(4))};
    damage(parts);
    return message_of([&] { unpack_fp8(parts, {{2, 4}}); });
  };
  EXPECT_EQ(read([](Fp8Parts&) {}), "(no error)");
  EXPECT_THAT(read([](Fp8Parts& p) { p.weight.dtype = Dtype::f8_e5m2; }), HasSubstr("m.weight: type F8_E5M2"));
  EXPECT_THAT(read([](Fp8Parts& p) { p.weight.shape = {32}; }), HasSubstr("m.weight: shape [32]"));
  EXPECT_THAT(read([](Fp8Parts& p) { p.weight.shape = {4, 9}; }), HasSubstr("bytes do not make shape"));
  EXPECT_THAT(read([](Fp8Parts& p) { p.weight.shape = {int64_t{1} << 62, 8}; }), HasSubstr("do not make shape"));
  EXPECT_THAT(read([](Fp8Parts& p) { p.weight.shape = {0, 8}, p.weight.data = {}; }), HasSubstr("holds nothing"));
  EXPECT_THAT(read([](Fp8Parts& p) { p.scale.dtype = Dtype::i32; }), HasSubstr("m.weight_scale: type I32"));
  EXPECT_THAT(read([](Fp8Parts& p) {
                p.scale.shape = {1, 4};
              }),
              HasSubstr("m.weight_scale: shape [1, 4], expected [1] or [4, 1] or [2, 2]"));
  EXPECT_THAT(read([&](Fp8Parts& p) {
                p.scale = store.floats("m.weight_scale", Dtype::f32, {1}, {std::numeric_limits<float>::infinity()});
              }),
              HasSubstr("m.weight_scale: scale 0 is not finite"));
}

TEST(Int8Layout, EveryValueIsScaleTimesCodeLessZero) {
  constexpr int64_t kOut = 5, kIn = 24;
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{}, {1}, {kOut, 1}, {kOut}, {kOut, 3}, {kOut, 2}}) {
    for (const bool asymmetric : {false, true}) {
      SCOPED_TRACE(shape_text(shape) + (asymmetric ? " asymmetric" : ""));
      Store store;
      const int64_t groups = shape.size() == 2 ? shape[1] : 1;
      const bool one = shape.empty() || shape == std::vector<int64_t>{1};
      const auto count = static_cast<size_t>(one ? 1 : kOut * groups);
      const auto codes = random_bytes<int8_t>(kOut * kIn, 7), zeros = random_bytes<int8_t>(count, 8);
      const auto scales = some_scales(count);
      Int8Parts parts{store.view("m.weight", Dtype::i8, {kOut, kIn}, codes),
                      store.floats("m.weight_scale", Dtype::f16, shape, scales),
                      {}};
      if (asymmetric) parts.zero_point = store.view("m.weight_zero_point", Dtype::i8, shape, zeros);
      const int64_t said = groups == 2 ? 16 : -1;  // a short last group is known by the config alone
      const int64_t group = groups == 2 ? 16 : kIn / groups;
      const Weight weight = unpack_int8(parts, said);
      EXPECT_EQ(weight.describe(), int8_form(parts, said).describe());
      const auto values = weight.unpack();
      for (int64_t i = 0; i < kOut * kIn; ++i) {
        const auto at = static_cast<size_t>(one ? 0 : i / kIn * groups + i % kIn / group);
        const int zero = asymmetric ? zeros[at] : 0;
        ASSERT_EQ(values[static_cast<size_t>(i)],
                  scales[at] * static_cast<float>(codes[static_cast<size_t>(i)] - zero));
      }
    }
  }
}

TEST(Int8Layout, ZeroPointsThatAreAllZeroAreNone) {
  Store store;
  const Int8Parts parts{store.view("m.weight", Dtype::i8, {4, 8}, random_bytes<int8_t>(32, 1)),
                        store.floats("m.weight_scale", Dtype::bf16, {4, 1}, some_scales(4)),
                        store.view("m.weight_zero_point", Dtype::i8, {4, 1}, std::vector<int8_t>(4))};
  EXPECT_EQ(int8_form(parts, -1).describe(), "8-bit, one group a row, symmetric");
  EXPECT_EQ(unpack_int8(parts, -1).describe(), "8-bit, one group a row, symmetric");
}

TEST(Int8Layout, MalformedTensorsAreNamed) {
  Store store;
  const auto read = [&](const std::function<void(Int8Parts&)>& damage) {
    Int8Parts parts{store.view("m.weight", Dtype::i8, {4, 8}, random_bytes<int8_t>(32, 1)),
                    store.floats("m.weight_scale", Dtype::bf16, {4, 1}, some_scales(4)),
                    store.view("m.weight_zero_point", Dtype::i8, {4, 1}, random_bytes<int8_t>(4, 1))};
    damage(parts);
    return message_of([&] { unpack_int8(parts, -1); });
  };
  EXPECT_EQ(read([](Int8Parts&) {}), "(no error)");
  EXPECT_THAT(read([](Int8Parts& p) { p.weight.dtype = Dtype::u8; }), HasSubstr("m.weight: type U8, expected I8"));
  EXPECT_THAT(read([](Int8Parts& p) { p.weight.shape = {2, 2, 8}; }), HasSubstr("m.weight: shape [2, 2, 8]"));
  EXPECT_THAT(read([](Int8Parts& p) { p.scale.shape = {2, 2}; }), HasSubstr("m.weight_zero_point: shape [4, 1]"));
  EXPECT_THAT(read([](Int8Parts& p) {
                p.scale.shape = {2, 2}, p.zero_point.reset();
              }),
              HasSubstr("m.weight_scale: shape [2, 2] for a weight of [4, 8], expected [1], [4, 1] or whole groups"));
  EXPECT_THAT(read([](Int8Parts& p) { p.zero_point->dtype = Dtype::i32; }), HasSubstr("m.weight_zero_point: type I32"));
  EXPECT_THAT(read([&](Int8Parts& p) {
                p.scale = store.floats("m.weight_scale", Dtype::f32, {4, 1}, {1, NAN, 1, 1});
              }),
              HasSubstr("m.weight: the scale of row 1, group 0 is not finite"));
}

TEST(AwqLayout, NibblesComeInTheOrderOfTheFormat) {
  constexpr int64_t kIn = 12, kOut = 16, kGroup = 4;
  Store store;
  const auto qweight = random_bytes<uint32_t>(kIn * kOut / 8, 1), qzeros = random_bytes<uint32_t>(3 * kOut / 8, 2);
  const auto scales = some_scales(3 * kOut);
  const AwqParts parts{store.view("m.qweight", Dtype::i32, {kIn, kOut / 8}, qweight),
                       store.view("m.qzeros", Dtype::i32, {3, kOut / 8}, qzeros),
                       store.floats("m.scales", Dtype::f16, {3, kOut}, scales)};
  const AwqScheme scheme{.bits = 4, .group = kGroup};
  const Weight weight = unpack_awq(parts, scheme);
  EXPECT_EQ(weight.describe(), awq_form(parts, scheme).describe());
  EXPECT_EQ(weight.describe(), "4-bit, groups of 4, asymmetric");
  // the order by which AutoAWQ puts nibbles back: column c of a word is its nibble back[c]
  constexpr int kBack[] = {0, 4, 1, 5, 2, 6, 3, 7};
  const auto nibble = [&](const std::vector<uint32_t>& words, int64_t row, int64_t n) {
    return static_cast<int>(words[static_cast<size_t>(row * kOut / 8 + n / 8)] >> (4 * kBack[n % 8])) & 15;
  };
  const auto values = weight.unpack();
  for (int64_t n = 0; n < kOut; ++n) {
    for (int64_t k = 0; k < kIn; ++k) {
      const int64_t g = k / kGroup;
      const auto difference = static_cast<float>(nibble(qweight, k, n) - nibble(qzeros, g, n));
      ASSERT_EQ(values[static_cast<size_t>(n * kIn + k)], scales[static_cast<size_t>(g * kOut + n)] * difference);
    }
  }
}

TEST(AwqLayout, MalformedTensorsAreNamed) {
  Store store;
  const auto read = [&](const std::function<void(AwqParts&, AwqScheme&)>& damage) {
    AwqParts parts{store.view("m.qweight", Dtype::i32, {8, 2}, random_bytes<uint32_t>(16, 1)),
                   store.view("m.qzeros", Dtype::i32, {2, 2}, random_bytes<uint32_t>(4, 1)),
                   store.floats("m.scales", Dtype::f16, {2, 16}, some_scales(32))};
    AwqScheme scheme{.bits = 4, .group = 4};
    damage(parts, scheme);
    return message_of([&] { unpack_awq(parts, scheme); });
  };
  EXPECT_EQ(read([](auto&, auto&) {}), "(no error)");
  EXPECT_THAT(read([](auto&, auto& s) { s.bits = 3; }), HasSubstr("m.qweight: AWQ of 3 bits; 4 are read"));
  EXPECT_THAT(read([](auto&, auto& s) { s.group = 0; }), HasSubstr("group_size is 0"));
  EXPECT_THAT(read([](auto&, auto& s) { s.group = 2; }), HasSubstr("m.scales: shape [2, 16], expected [4, 16]"));
  EXPECT_THAT(read([](auto& p, auto&) { p.qweight.dtype = Dtype::f32; }), HasSubstr("m.qweight: type F32"));
  EXPECT_THAT(read([](auto& p, auto&) { p.qweight.shape = {16}; }), HasSubstr("m.qweight: shape [16]"));
  EXPECT_THAT(read([](auto& p, auto&) {
                p.qweight.shape = {1, 2}, p.qweight.data = p.qweight.data.first(8);
              }),
              HasSubstr("1 inputs of 4 bits"));
  EXPECT_THAT(read([](auto& p, auto&) {
                p.qzeros.shape = {1, 4};
              }),
              HasSubstr("m.qzeros: shape [1, 4], expected [2, 2]"));
  EXPECT_THAT(read([&](auto& p, auto&) {
                p.scales = store.floats("m.scales", Dtype::f16, {2, 16}, std::vector<float>(32, NAN));
              }),
              HasSubstr("m.qweight: the scale of row 0, group 0 is not finite"));
}

constexpr const char* kNf4State =
    R"({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [3, 50], "nested_blocksize": 2,
        "nested_dtype": "float32", "nested_offset": 0.25})";

Nf4Parts nf4_parts(Store& store, bool nested, const std::string& state = kNf4State) {
  std::vector<float> map(16), nested_map(256);
  for (size_t i = 0; i < 16; ++i) map[i] = (static_cast<float>(i) - 7.3f) / 8;
  for (size_t i = 0; i < 256; ++i) nested_map[i] = (static_cast<float>(i) - 127.1f) / 128;
  Nf4Parts parts{store.view("m.weight", Dtype::u8, {75, 1}, random_bytes<uint8_t>(75, 1)),
                 store.floats("m.weight.absmax", Dtype::f32, {3}, some_scales(3)),
                 store.floats("m.weight.quant_map", Dtype::f32, {16}, map),
                 store.text("m.weight.quant_state.bitsandbytes__nf4", state),
                 {},
                 {}};
  if (nested) {
    parts.absmax = store.view("m.weight.absmax", Dtype::u8, {3}, random_bytes<uint8_t>(3, 2));
    parts.nested_absmax = store.floats("m.weight.nested_absmax", Dtype::f32, {2}, {1.5f, 0.7f});
    parts.nested_quant_map = store.floats("m.weight.nested_quant_map", Dtype::f32, {256}, nested_map);
  }
  return parts;
}

TEST(Nf4Layout, EveryValueIsItsMapEntryTimesTheScaleOfItsBlock) {
  for (const bool nested : {false, true}) {
    SCOPED_TRACE(nested ? "nested" : "plain");
    Store store;
    const Nf4Parts parts = nf4_parts(store, nested);
    const Weight weight = unpack_nf4(parts);
    EXPECT_EQ(weight.shape, (std::vector<int64_t>{3, 50}));
    EXPECT_EQ(weight.describe(), nf4_form(parts).describe());
    EXPECT_EQ(nf4_words(parts), nested ? "NF4, blocks of 64, scales of 8 bits" : "NF4, blocks of 64");
    const auto values = weight.unpack();
    for (int64_t i = 0; i < 150; ++i) {
      float scale = 0;
      if (nested) {
        const float part = parts.nested_quant_map->item<float>(parts.absmax.item<uint8_t>(i / 64)) *
                           parts.nested_absmax->item<float>(i / 64 / 2);
        scale = part + 0.25f;
      } else {
        scale = parts.absmax.item<float>(i / 64);
      }
      const int byte = parts.weight.item<uint8_t>(i / 2);
      ASSERT_EQ(values[static_cast<size_t>(i)],
                parts.quant_map.item<float>(i % 2 == 0 ? byte / 16 : byte % 16) * scale);
    }
  }
}

TEST(Nf4Layout, MalformedTensorsAreNamed) {
  Store store;
  const auto read = [&](const std::function<void(Nf4Parts&)>& damage, bool nested = true) {
    Nf4Parts parts = nf4_parts(store, nested);
    damage(parts);
    return message_of([&] { unpack_nf4(parts); });
  };
  const auto state = [&](const std::string& json, bool nested = true) {
    return read([&](Nf4Parts& p) { p.state = store.text("m.state", json); }, nested);
  };
  EXPECT_EQ(read([](Nf4Parts&) {}), "(no error)");
  EXPECT_THAT(state("{"), HasSubstr("m.state"));
  EXPECT_THAT(state("[]"), HasSubstr("m.state: expected a JSON object"));
  EXPECT_THAT(state(R"({"quant_type": "int8"})"), HasSubstr("quant_type is \"int8\"; nf4 and fp4 are read"));
  EXPECT_THAT(state(R"({"quant_type": "nf4"})"), HasSubstr("m.state: blocksize is missing"));
  EXPECT_THAT(state(R"({"quant_type": "nf4", "blocksize": 0})"), HasSubstr("blocksize is 0, expected a count"));
  EXPECT_THAT(state(R"({"quant_type": "nf4", "blocksize": 64})"), HasSubstr("m.state: shape is no list of two"));
  EXPECT_THAT(state(R"({"quant_type": "nf4", "blocksize": 64, "shape": [3, -1]})"), HasSubstr("shape is -1"));
  EXPECT_THAT(state(R"({"quant_type": "nf4", "blocksize": 64, "shape": [3, 60]})"),
              HasSubstr("m.weight: 75 bytes do not hold [3, 60] codes of 4 bits"));
  EXPECT_THAT(state(R"({"quant_type": "nf4", "blocksize": 64, "shape": [2147483648, 2147483648]})"),
              HasSubstr("do not hold"));
  EXPECT_THAT(state(R"({"quant_type": "nf4", "blocksize": 32, "shape": [3, 50]})"),
              HasSubstr("m.weight.absmax: shape [3], expected [5]"));
  EXPECT_THAT(state(R"({"quant_type": "nf4", "blocksize": 64, "shape": [3, 50]})"),
              HasSubstr("nested_blocksize is missing"));
  EXPECT_THAT(state(R"({"quant_type": "nf4", "blocksize": 64, "shape": [3, 50], "nested_blocksize": 2})"),
              HasSubstr("nested_offset is no number"));
  EXPECT_THAT(read([](Nf4Parts& p) { p.quant_map.shape = {4, 4}; }), HasSubstr("m.weight.quant_map: shape [4, 4]"));
  EXPECT_THAT(read([](Nf4Parts& p) { p.absmax.dtype = Dtype::i8; }), HasSubstr("m.weight.absmax: type I8"));
  EXPECT_THAT(read([](Nf4Parts& p) { p.nested_quant_map.reset(); }), HasSubstr("there is no nested_quant_map"));
  EXPECT_THAT(read([](Nf4Parts& p) {
                p.nested_absmax->shape = {1, 2};
              }),
              HasSubstr("m.weight.nested_absmax: shape [1, 2]"));
  EXPECT_THAT(read(
                  [&](Nf4Parts& p) {
                    p.absmax = store.floats("m.absmax", Dtype::f32, {3}, {1, NAN, 1});
                  },
                  false),
              HasSubstr("m.absmax: value 1 is not finite"));
}

// What is written from what was read: the same tensors; of codes, the bits that count.
void expect_written_alike(const AqlmParts& parts, const WeightForm& form, const std::vector<StoredTensor>& written) {
  const std::vector<TensorSpec> specs = aqlm_tensors(form, "m");
  const StoredView* read[] = {&parts.codes, &parts.codebooks, &parts.scales};
  ASSERT_EQ(specs.size(), 3u);
  ASSERT_EQ(written.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(specs[i].name, read[i]->name);
    EXPECT_EQ(written[i].name, read[i]->name);
    EXPECT_EQ(specs[i].dtype, read[i]->dtype);
    EXPECT_EQ(specs[i].shape, read[i]->shape);
    ASSERT_EQ(written[i].data.size(), read[i]->data.size());
    if (i == 0 && form.bits < 16 && form.bits != 8) continue;
    EXPECT_TRUE(std::equal(written[i].data.begin(), written[i].data.end(), read[i]->data.begin())) << specs[i].name;
  }
  const AqlmParts again{{"m.codes", specs[0].dtype, specs[0].shape, written[0].data}, parts.codebooks, parts.scales};
  EXPECT_EQ(unpack_aqlm(again, {}).unpack(), unpack_aqlm(parts, {}).unpack());
}

TEST(AqlmLayout, EveryValueIsItsScaleTimesTheSumOfItsEntries) {
  for (const bool wide : {false, true}) {
    for (const auto& [out_group, in_group] : {std::pair<int64_t, int64_t>{1, 8}, {2, 4}}) {
      SCOPED_TRACE(std::to_string(out_group) + " x " + std::to_string(in_group) + (wide ? ", i16" : ", i8"));
      constexpr int64_t kRows = 3, kColumns = 5, kBooks = 2;
      const int64_t entries = wide ? 1024 : 256, entry = out_group * in_group;
      Store store;
      const auto codes8 = random_bytes<int8_t>(kRows * kColumns * kBooks, 1);
      const auto codes16 = random_bytes<int16_t>(kRows * kColumns * kBooks, 1);
      const std::vector<int64_t> shape{kRows, kColumns, kBooks};
      std::vector<float> books(static_cast<size_t>(kBooks * entries * entry));
      for (size_t i = 0; i < books.size(); ++i) books[i] = static_cast<float>(i * 7 % 64) - 31;
      const AqlmParts parts{
          wide ? store.view("m.codes", Dtype::i16, shape, codes16) : store.view("m.codes", Dtype::i8, shape, codes8),
          store.floats("m.codebooks", Dtype::f16, {kBooks, entries, out_group, in_group}, books),
          store.floats("m.scales", Dtype::f16, {kRows, 1, 1, 1}, some_scales(kRows))};
      const AqlmScheme scheme{.bits = wide ? 10 : 8, .books = kBooks, .out_group = out_group, .in_group = in_group};
      const Weight weight = unpack_aqlm(parts, scheme);
      const WeightForm form = aqlm_form(parts, scheme);
      EXPECT_EQ(weight.describe(), form.describe());
      EXPECT_EQ(weight.bytes(), form.bytes());
      EXPECT_EQ(form.bytes(), parts.codes.data.size() + parts.codebooks.data.size() + parts.scales.data.size());
      expect_written_alike(parts, form, pack_aqlm(weight, "m"));
      const auto values = weight.unpack();
      const int64_t in = kColumns * in_group;
      for (int64_t n = 0; n < kRows * out_group; ++n) {
        for (int64_t k = 0; k < in; ++k) {
          float sum = 0;
          for (int64_t c = 0; c < kBooks; ++c) {
            const auto at = static_cast<size_t>((n / out_group * kColumns + k / in_group) * kBooks + c);
            const int64_t index = (wide ? codes16[at] : codes8[at]) & (entries - 1);
            sum += books[static_cast<size_t>((c * entries + index) * entry + n % out_group * in_group + k % in_group)];
          }
          ASSERT_EQ(values[static_cast<size_t>(n * in + k)],
                    sum * some_scales(kRows)[static_cast<size_t>(n / out_group)]);
        }
      }
    }
  }
}

TEST(AqlmLayout, SignedCodesAreTheUnsignedOnesOfTheFormatPage) {
  Store store;
  std::vector<float> books(2 * 256);
  for (size_t i = 0; i < books.size(); ++i) books[i] = static_cast<float>(i);
  const AqlmParts parts{store.view("m.codes", Dtype::i8, {1, 1, 2}, std::vector<int8_t>{-1, 3}),
                        store.floats("m.codebooks", Dtype::f32, {2, 256, 1, 1}, books),
                        store.floats("m.scales", Dtype::f32, {1, 1, 1, 1}, {1})};
  EXPECT_EQ(unpack_aqlm(parts, {}).unpack(), std::vector<float>{255 + (256 + 3)});
  EXPECT_EQ(aqlm_form(parts, {}).describe(), "AQLM, 2 x 8 bits for 1 x 1");
}

TEST(AqlmLayout, MalformedTensorsAreNamed) {
  Store store;
  const auto read = [&](const std::function<void(AqlmParts&, AqlmScheme&)>& damage) {
    AqlmParts parts{store.view("m.codes", Dtype::i8, {2, 3, 1}, random_bytes<int8_t>(6, 1)),
                    store.floats("m.codebooks", Dtype::f16, {1, 16, 1, 4}, some_scales(64)),
                    store.floats("m.scales", Dtype::f16, {2, 1, 1, 1}, some_scales(2))};
    AqlmScheme scheme{.bits = 4, .books = 1, .out_group = 1, .in_group = 4};
    damage(parts, scheme);
    return message_of([&] { unpack_aqlm(parts, scheme); });
  };
  EXPECT_EQ(read([](auto&, auto&) {}), "(no error)");
  EXPECT_THAT(read([](auto&, auto& s) { s.bits = 8; }), HasSubstr("2^nbits_per_codebook is 256"));
  EXPECT_THAT(read([](auto&, auto& s) { s.books = 2; }), HasSubstr("num_codebooks is 2"));
  EXPECT_THAT(read([](auto&, auto& s) { s.in_group = 8; }), HasSubstr("in_group_size is 8"));
  EXPECT_THAT(read([](auto&, auto& s) { s.out_group = 8; }), HasSubstr("out_group_size is 8"));
  EXPECT_THAT(read([](auto& p, auto&) { p.codebooks.shape = {1, 64, 1}; }), HasSubstr("m.codebooks: shape [1, 64, 1]"));
  EXPECT_THAT(read([](auto& p, auto&) { p.codebooks.shape = {4, 4, 1, 4}; }), HasSubstr("disagrees with"));
  EXPECT_THAT(read([&](auto& p, auto&) {
                p.codebooks = store.floats("m.codebooks", Dtype::f16, {1, 3, 1, 1}, {1, 2, 3});
              }),
              HasSubstr("m.codebooks: shape [1, 3, 1, 1], expected [books, 2^bits"));
  EXPECT_THAT(read([&](auto& p, auto&) {
                p.codebooks = store.floats("m.codebooks", Dtype::f16, {1, 2, 1, 257}, some_scales(514));
              }),
              HasSubstr("groups of 256"));
  EXPECT_THAT(read([](auto& p, auto&) { p.codes.dtype = Dtype::u8; }),
              HasSubstr("m.codes: type U8, expected I8 or I16"));
  EXPECT_THAT(read([](auto& p, auto&) { p.codes.shape = {2, 1, 3}; }), HasSubstr("m.codes: shape [2, 1, 3]"));
  EXPECT_THAT(read([](auto& p, auto&) { p.scales.shape = {2}; }),
              HasSubstr("m.scales: shape [2], expected [2, 1, 1, 1]"));
  EXPECT_THAT(read([&](auto& p, auto&) {
                p.scales = store.floats("m.scales", Dtype::f16, {2, 1, 1, 1}, {1, NAN});
              }),
              HasSubstr("m.scales: value 1 is not finite"));
  EXPECT_THAT(read([&](auto& p, auto& s) {
                s.bits = 9;
                p.codebooks = store.floats("m.codebooks", Dtype::f16, {1, 512, 1, 4}, some_scales(2048));
              }),
              HasSubstr("codes of 8 bits, and 512 entries"));
}

}  // namespace
}  // namespace pare
