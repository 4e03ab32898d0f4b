#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "pare/base/error.h"
#include "pare/weights/bitmask_layout.h"
#include "pare/weights/compressed_tensors_layout.h"
#include "pare/weights/gptq_layout.h"
#include "pare/weights/grouped_ints.h"
#include "pare/weights/weights_for_tests.h"

namespace pare {
namespace {

using testing::HasSubstr;

// Announced and packed tensors of a module put together, as a file would hold them.
struct Stored {
  std::vector<TensorSpec> specs;
  std::vector<StoredTensor> tensors;

  StoredView view(const std::string& suffix) const {
    for (size_t i = 0; i < specs.size(); ++i) {
      if (specs[i].name == "m" + suffix) return {specs[i].name, specs[i].dtype, specs[i].shape, tensors[i].data};
    }
    ADD_FAILURE() << "no tensor " << suffix;
    return {};
  }
  bool has(const std::string& suffix) const {
    return std::any_of(specs.begin(), specs.end(), [&](const TensorSpec& s) { return s.name == "m" + suffix; });
  }
  void expect_sizes() const {
    ASSERT_EQ(specs.size(), tensors.size());
    for (size_t i = 0; i < specs.size(); ++i) {
      EXPECT_EQ(specs[i].name, tensors[i].name);
      int64_t bytes = size_of(specs[i].dtype);
      for (int64_t dim : specs[i].shape) bytes *= dim;
      EXPECT_EQ(static_cast<int64_t>(tensors[i].data.size()), bytes) << specs[i].name;
    }
  }
};

template <class T>
std::vector<T> items(const StoredView& view) {
  std::vector<T> values(view.data.size() / sizeof(T));
  std::memcpy(values.data(), view.data.data(), view.data.size());
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

Stored gptq_stored(const Weight& weight, GptqVersion version = GptqVersion::v1) {
  return {gptq_tensors(form_of(weight), "m"), pack_gptq(weight, "m", version)};
}
GptqParts gptq_parts(const Stored& stored) {
  return {stored.view(".qweight"), stored.view(".qzeros"), stored.view(".scales"), stored.view(".g_idx")};
}
GptqScheme scheme_of(const Weight& weight) {
  const auto& ints = std::get<GroupedInts>(weight.base);
  return {.bits = ints.bits,
          .group = ints.group,
          .symmetric = ints.symmetric,
          .act_order = !ints.group_index.empty(),
          .version = GptqVersion::v1,
          .overridden = false};
}

TEST(GptqLayout, RoundTripsEveryWidthBothVersionsAndOrders) {
  for (int bits : {2, 3, 4, 8}) {
    for (int variant = 0; variant < 12; ++variant) {
      SCOPED_TRACE(std::to_string(bits) + " bits, variant " + std::to_string(variant));
      const Weight weight = random_ints({.rows = 64,
                                         .cols = 160,
                                         .bits = bits,
                                         .group = variant % 3 == 2 ? 160 : 64,  // the last of 64 is short
                                         .symmetric = variant % 2 == 0,
                                         .shuffled_groups = variant % 3 == 1,
                                         .seed = 3});
      const GptqVersion version = variant < 6 ? GptqVersion::v1 : GptqVersion::v2;
      const Stored stored = gptq_stored(weight, version);
      stored.expect_sizes();
      GptqScheme scheme = scheme_of(weight);
      scheme.version = version;
      const Weight back = unpack_gptq(gptq_parts(stored), scheme);
      const auto &a = std::get<GroupedInts>(weight.base), &b = std::get<GroupedInts>(back.base);
      EXPECT_EQ(a.codes, b.codes);
      EXPECT_EQ(a.scales, b.scales);
      EXPECT_EQ(a.zeros, b.zeros);
      EXPECT_EQ(a.group_index, b.group_index);
      EXPECT_EQ(gptq_form(gptq_parts(stored), scheme).describe(), weight.describe());

      scheme.overridden = true;  // the same from shapes alone
      scheme.bits = 0;
      EXPECT_EQ(unpack_gptq(gptq_parts(stored), scheme).unpack(), weight.unpack());
    }
  }
}

TEST(GptqLayout, IsTheOneInTheFormatPage) {
  Weight weight = random_ints({.rows = 32, .cols = 32, .bits = 4, .group = 32, .seed = 1});
  auto& ints = std::get<GroupedInts>(weight.base);
  for (size_t i = 0; i < ints.codes.size(); ++i) ints.codes[i] = static_cast<uint8_t>(0x10 + 0x22 * (i % 4));
  const Stored v1 = gptq_stored(weight);
  EXPECT_EQ(items<uint32_t>(v1.view(".qweight"))[5], 0x76543210u);
  EXPECT_EQ(items<uint32_t>(v1.view(".qzeros"))[0], 0x77777777u);
  EXPECT_EQ(items<uint32_t>(gptq_stored(weight, GptqVersion::v2).view(".qzeros"))[0], 0x88888888u);

  Weight three = random_ints({.rows = 32, .cols = 32, .bits = 3, .group = 32, .seed = 1});
  std::vector<uint8_t> codes(32);
  for (size_t i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(i % 8);
  auto& packed = std::get<GroupedInts>(three.base).codes;
  for (size_t r = 0; r < 32; ++r) pack_bits(codes, 3, std::span(packed).subspan(12 * r, 12));
  const auto words = items<uint32_t>(gptq_stored(three).view(".qweight"));  // [3, 32]
  EXPECT_EQ(words[7], 0x88fac688u);
  EXPECT_EQ(words[32 + 7], 0xc688fac6u);
  EXPECT_EQ(words[64 + 7], 0xfac688fau);
}

TEST(GptqLayout, SymmetricZerosTellTheVersionWhateverTheLabelSays) {
  const Weight weight = random_ints({.rows = 32, .cols = 64, .bits = 4, .group = 32, .seed = 4});
  for (GptqVersion written : {GptqVersion::v1, GptqVersion::v2}) {
    for (GptqVersion labelled : {GptqVersion::v1, GptqVersion::v2}) {
      const Stored stored = gptq_stored(weight, written);
      GptqScheme scheme = scheme_of(weight);
      scheme.version = labelled;
      EXPECT_EQ(unpack_gptq(gptq_parts(stored), scheme).unpack(), weight.unpack());
    }
  }
}

TEST(GptqLayout, PrunedAndTernaryWeightsKeepTheirValues) {
  const Weight pruned =
      random_ints({.rows = 32, .cols = 64, .group = 32, .symmetric = false, .masked = true, .seed = 5});
  EXPECT_EQ(unpack_gptq(gptq_parts(gptq_stored(pruned)), scheme_of(pruned)).unpack(), pruned.unpack());
  const Weight ternary = random_ints({.rows = 32, .cols = 64, .bits = 2, .group = 32, .ternary = true, .seed = 6});
  EXPECT_EQ(unpack_gptq(gptq_parts(gptq_stored(ternary)), scheme_of(ternary)).unpack(), ternary.unpack());
}

TEST(GptqLayout, SaysWhyAFormDoesNotFit) {
  const auto why = [](RandomInts wish) { return gptq_why_not(form_of(random_ints(wish))); };
  EXPECT_EQ(why({.rows = 32, .cols = 64}), "");
  EXPECT_THAT(why({.rows = 32, .cols = 64, .bits = 5}), HasSubstr("no 5-bit form"));
  EXPECT_THAT(why({.rows = 32, .cols = 64, .scale_dtype = Dtype::bf16}), HasSubstr("scales as F16"));
  EXPECT_THAT(why({.rows = 33, .cols = 64}), HasSubstr("33 features of 4 bits are not whole 32-bit words"));
  EXPECT_THAT(gptq_why_not(form_of(dense_weight({1, 1}, Dtype::f32, std::vector<float>{1}))), HasSubstr("integers"));
}

TEST(GptqLayout, MalformedTensorsAreNamed) {
  struct Case {
    const char* message;
    std::function<void(GptqParts&, GptqScheme&, Stored&)> damage;
  };
  const auto poke = [](Stored& stored, const char* suffix, size_t byte, uint8_t value) {
    for (StoredTensor& tensor : stored.tensors) {
      if (tensor.name == std::string("m") + suffix) tensor.data[byte] = std::byte{value};
    }
  };
  const std::vector<Case> cases{
      {"m.qweight: type F32, expected I32", [](auto& p, auto&, auto&) { p.qweight.dtype = Dtype::f32; }},
      {"m.qweight: shape [16, 32, 1], expected [any, any]",
       [](auto& p, auto&, auto&) {
         p.qweight.shape = {16, 32, 1};
       }},
      {"m.qweight: 2048 bytes do not make shape [17, 32]",
       [](auto& p, auto&, auto&) {
         p.qweight.shape = {17, 32};
       }},
      {"m.scales: shape [4, 32], expected [any, 64]",
       [](auto& p, auto&, auto&) {
         p.qweight.shape = {8, 64};
       }},
      {"m.qzeros: shape [4, 4], expected [4, 8]",  // 8 bits claimed for 4-bit tensors
       [](auto&, auto& s, auto&) { s.bits = 8; }},
      {"5-bit GPTQ layers are not read; known are 2, 3, 4 and 8 bits", [](auto&, auto& s, auto&) { s.bits = 5; }},
      {"m.qweight: 16 words do not hold whole 3-bit codes", [](auto&, auto& s, auto&) { s.bits = 3; }},
      {"m.scales: 4 groups, expected 2 (128 inputs in groups of 64)", [](auto&, auto& s, auto&) { s.group = 64; }},
      {"group_size is 0", [](auto&, auto& s, auto&) { s.group = 0; }},
      {"desc_act is true and there is no g_idx",
       [](auto& p, auto& s, auto&) {
         p.g_idx.reset();
         s.act_order = true;
       }},
      {"m.g_idx: shape [128], expected [64]",
       [](auto& p, auto& s, auto&) {
         p.g_idx->shape = {128};
         p.qweight.shape = {8, 32};
         p.qweight.data = p.qweight.data.first(1024);
         s.group = 16;
       }},
      {"m.g_idx: input 0 is of group 4; there are 4", [&](auto&, auto&, auto& st) { poke(st, ".g_idx", 0, 4); }},
      {"m.g_idx: input 127 is of group -16777213", [&](auto&, auto&, auto& st) { poke(st, ".g_idx", 511, 255); }},
      {"m.g_idx: not k / group_size, although desc_act is false",
       [&](auto&, auto&, auto& st) { poke(st, ".g_idx", 0, 3); }},
      {"the scale of row 0, group 0 is not finite", [&](auto&, auto&, auto& st) { poke(st, ".scales", 1, 0x7e); }},
      {"should be stored as 7 (v1) or every one as 8 (v2); found 1",
       [&](auto&, auto&, auto& st) { poke(st, ".qzeros", 0, 0x71); }},
      {"(v2); found both", [&](auto&, auto&, auto& st) { poke(st, ".qzeros", 0, 0x78); }},
  };
  const Weight weight = random_ints({.rows = 32, .cols = 128, .bits = 4, .group = 32, .seed = 7});
  for (const Case& c : cases) {
    Stored stored = gptq_stored(weight);
    GptqParts parts = gptq_parts(stored);
    GptqScheme scheme = scheme_of(weight);
    c.damage(parts, scheme, stored);
    EXPECT_THAT(message_of([&] { unpack_gptq(parts, scheme); }), HasSubstr(c.message));
  }
}

Stored packed_stored(const Weight& weight, WordFilling filling = WordFilling::stream) {
  const bool indexed = !std::get<GroupedInts>(weight.base).group_index.empty();
  return {packed_tensors(form_of(weight), "m", filling, indexed), pack_packed(weight, "m", filling)};
}
PackParts pack_parts(const Stored& stored) {
  PackParts parts{stored.view(".weight_packed"), stored.view(".weight_scale"), stored.view(".weight_shape"), {}, {}};
  if (stored.has(".weight_zero_point")) parts.zero_point = stored.view(".weight_zero_point");
  if (stored.has(".weight_g_idx")) parts.g_idx = stored.view(".weight_g_idx");
  return parts;
}
PackScheme pack_scheme(const Weight& weight) {
  const auto& ints = std::get<GroupedInts>(weight.base);
  return {.bits = ints.bits, .group = ints.group, .symmetric = ints.symmetric};
}

TEST(CompressedTensorsLayout, RoundTripsEveryWidthFillingAndAwkwardShape) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (WordFilling filling : {WordFilling::stream, WordFilling::whole_codes}) {
      for (int variant = 0; variant < 6; ++variant) {
        SCOPED_TRACE(std::to_string(bits) + " bits, variant " + std::to_string(variant) +
                     (filling == WordFilling::stream ? ", stream" : ", whole codes"));
        const Weight weight =
            random_ints({.rows = 37,
                         .cols = variant % 3 == 0 ? 103 : 96,  // at 100 both fillings take 10 words of 3 bits
                         .bits = bits,
                         .group = 32,
                         .symmetric = variant % 2 == 0,
                         .scale_dtype = variant < 3 ? Dtype::bf16 : Dtype::f32,
                         .shuffled_groups = variant == 4,
                         .seed = 8});
        const Stored stored = packed_stored(weight, filling);
        stored.expect_sizes();
        const Weight back = unpack_packed(pack_parts(stored), pack_scheme(weight));
        const auto &a = std::get<GroupedInts>(weight.base), &b = std::get<GroupedInts>(back.base);
        EXPECT_EQ(back.unpack(), weight.unpack());
        EXPECT_EQ(a.scales, b.scales);
        EXPECT_EQ(a.zeros, b.zeros);
        EXPECT_EQ(a.group_index, b.group_index);
        EXPECT_EQ(packed_form(pack_parts(stored), pack_scheme(weight)).describe(), weight.describe());
      }
    }
  }
}

TEST(CompressedTensorsLayout, ThreeBitRowsAreAsLongAsEachGenerationMakesThem) {
  WeightForm form = form_of(random_ints({.rows = 1, .cols = 4096, .bits = 3, .group = 128}));
  EXPECT_EQ(packed_tensors(form, "m", WordFilling::stream)[0].shape[1], 384);
  EXPECT_EQ(packed_tensors(form, "m", WordFilling::whole_codes)[0].shape[1], 410);
}

TEST(CompressedTensorsLayout, CodesAreSignedValuesShiftedUp) {
  Weight weight = random_ints({.rows = 1, .cols = 8, .bits = 4, .group = 8, .seed = 1});
  std::get<GroupedInts>(weight.base).codes = {0x10, 0x32, 0x54, 0x76};  // q = -8 .. -1
  EXPECT_EQ(items<uint32_t>(packed_stored(weight).view(".weight_packed"))[0], 0x76543210u);
  EXPECT_EQ(items<int64_t>(packed_stored(weight).view(".weight_shape")), (std::vector<int64_t>{1, 8}));
}

TEST(CompressedTensorsLayout, PrunedAndTernaryWeightsKeepTheirValues) {
  const Weight pruned = random_ints({.rows = 9, .cols = 64, .group = 32, .masked = true, .seed = 5});
  EXPECT_EQ(unpack_packed(pack_parts(packed_stored(pruned)), pack_scheme(pruned)).unpack(), pruned.unpack());
  const Weight ternary = random_ints({.rows = 9, .cols = 50, .bits = 2, .group = 32, .ternary = true, .seed = 6});
  EXPECT_EQ(unpack_packed(pack_parts(packed_stored(ternary)), pack_scheme(ternary)).unpack(), ternary.unpack());
}

TEST(CompressedTensorsLayout, UnpackedSignedZeroPointsOfOldVersionsAreRead) {
  const Weight weight = random_ints({.rows = 9, .cols = 64, .group = 32, .symmetric = false, .seed = 9});
  const Stored stored = packed_stored(weight);
  PackParts parts = pack_parts(stored);
  std::vector<std::byte> zeros;
  for (uint8_t zero : std::get<GroupedInts>(weight.base).zeros) zeros.push_back(static_cast<std::byte>(zero - 8));
  parts.zero_point = StoredView{"m.weight_zero_point", Dtype::i8, {9, 2}, zeros};
  EXPECT_EQ(unpack_packed(parts, pack_scheme(weight)).unpack(), weight.unpack());
  zeros[3] = std::byte{9};
  EXPECT_THAT(message_of([&] { unpack_packed(parts, pack_scheme(weight)); }), HasSubstr("holds 9, expected -8 to 7"));
}

TEST(CompressedTensorsLayout, MalformedTensorsAreNamed) {
  struct Case {
    const char* message;
    std::function<void(PackParts&, PackScheme&, std::vector<std::byte>&)> damage;
  };
  const auto set_shape = [](std::vector<std::byte>& data, int64_t out, int64_t in) {
    std::memcpy(data.data(), &out, 8);
    std::memcpy(data.data() + 8, &in, 8);
  };
  const std::vector<Case> cases{
      {"m.weight_packed: type U8, expected I32", [](auto& p, auto&, auto&) { p.packed.dtype = Dtype::u8; }},
      {"m.weight_shape: says 37 x 96", [&](auto&, auto&, auto& d) { set_shape(d, 37, 96); }},
      {"m.weight_shape: says 9 x -1", [&](auto&, auto&, auto& d) { set_shape(d, 9, -1); }},
      {"m.weight_shape: says 9 x 9223372036854775807", [&](auto&, auto&, auto& d) { set_shape(d, 9, INT64_MAX); }},
      {"m.weight_packed: 12 words a row; 128 codes of 4 bits take 16",
       [&](auto&, auto&, auto& d) { set_shape(d, 9, 128); }},
      {"m.weight_packed: 12 words a row; 96 codes of 3 bits take 9 (or 10 as older versions wrote them)",
       [](auto&, auto& s, auto&) { s.bits = 3; }},
      {"num_bits is 16; 2 to 8 are read", [](auto&, auto& s, auto&) { s.bits = 16; }},
      {"m.weight_scale: shape [9, 3], expected [9, 1]", [](auto&, auto& s, auto&) { s.group = -1; }},
      {"group_size is 0", [](auto&, auto& s, auto&) { s.group = 0; }},
      {"m.weight_zero_point: there, although quantization_config says symmetric",
       [](auto&, auto& s, auto&) { s.symmetric = true; }},
      {"asymmetric by quantization_config, and there is no weight_zero_point",
       [](auto& p, auto&, auto&) { p.zero_point.reset(); }},
      {"m.weight_zero_point: shape [3, 2], expected [2, 3]",
       [](auto& p, auto&, auto&) {
         p.zero_point->shape = {3, 2};
       }},
  };
  const Weight weight = random_ints({.rows = 9, .cols = 96, .bits = 4, .group = 32, .symmetric = false, .seed = 7});
  for (const Case& c : cases) {
    const Stored stored = packed_stored(weight);
    PackParts parts = pack_parts(stored);
    PackScheme scheme = pack_scheme(weight);
    std::vector<std::byte> shape(parts.shape.data.begin(), parts.shape.data.end());
    c.damage(parts, scheme, shape);
    parts.shape.data = shape;
    EXPECT_THAT(message_of([&] { unpack_packed(parts, scheme); }), HasSubstr(c.message));
  }
  const Stored indexed = packed_stored(random_ints({.rows = 9, .cols = 96, .shuffled_groups = true}));
  PackParts parts = pack_parts(indexed);
  std::vector<std::byte> index(parts.g_idx->data.begin(), parts.g_idx->data.end());
  index[0] = std::byte{3};
  parts.g_idx->data = index;
  EXPECT_THAT(message_of([&] { unpack_packed(parts, {.bits = 4, .group = 32, .symmetric = true}); }),
              HasSubstr("m.weight_packed: column 0 is of group 3; there are 3 groups"));
}

Weight sparse_weight(int64_t rows, int64_t cols, Dtype dtype, Mask mask) {
  std::vector<float> values(static_cast<size_t>(rows * cols));
  const CounterRandom random(2, "sparse");
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random.uniform(i)) - 0.5f;
  Weight weight = dense_weight({rows, cols}, dtype, values);
  weight.mask = std::move(mask);
  return weight;
}
Stored bitmask_stored(const Weight& weight, BitmaskLayout layout) {
  const std::string parameter = layout == BitmaskLayout::sparse ? "m" : "m.weight";
  return {bitmask_tensors(form_of(weight), parameter, layout), pack_bitmask(weight, parameter, layout)};
}
BitmaskParts bitmask_parts(const Stored& stored) {
  BitmaskParts parts{stored.view(".shape"), stored.view(".compressed"), stored.view(".bitmask"), {}};
  if (stored.has(".row_offsets")) parts.row_offsets = stored.view(".row_offsets");
  return parts;
}

TEST(BitmaskLayout, RoundTripsMaskAndValues) {
  for (Dtype dtype : {Dtype::bf16, Dtype::f16, Dtype::f32}) {
    for (int64_t cols : {1, 7, 8, 9, 100}) {
      const Weight weight = sparse_weight(11, cols, dtype, random_mask(11, cols, 3));
      const Stored stored = bitmask_stored(weight, BitmaskLayout::sparse);
      stored.expect_sizes();
      const Weight back = unpack_bitmask(bitmask_parts(stored));
      check_weight(back, "m");
      EXPECT_EQ(back.unpack(), weight.unpack());
      EXPECT_EQ(back.mask->bits, weight.mask->bits);
      EXPECT_EQ(bitmask_form(bitmask_parts(stored)).describe(), weight.describe());
    }
    for (int64_t cols : {4, 12, 96}) {
      const Weight weight = sparse_weight(11, cols, dtype, two_of_four_mask(11, cols, 4));
      const Stored stored = bitmask_stored(weight, BitmaskLayout::sparse_24);
      stored.expect_sizes();
      const Weight back = unpack_bitmask(bitmask_parts(stored));
      check_weight(back, "m");
      EXPECT_EQ(back.unpack(), weight.unpack());
      EXPECT_EQ(back.describe(), weight.describe());
    }
  }
}

TEST(BitmaskLayout, IsTheOneInTheFormatPage) {
  Weight weight = dense_weight({1, 8}, Dtype::f32, std::vector<float>{0, 1.5f, 0, -2, 0, 0, 0, 3});
  weight.mask = Mask{{0x8a}, 0, 0};
  const Stored stored = bitmask_stored(weight, BitmaskLayout::sparse);
  EXPECT_EQ(items<float>(stored.view(".compressed")), (std::vector<float>{1.5f, -2, 3}));
  EXPECT_EQ(items<uint8_t>(stored.view(".bitmask")), std::vector<uint8_t>{0x8a});
  EXPECT_EQ(items<int64_t>(stored.view(".row_offsets")), std::vector<int64_t>{0});
}

TEST(BitmaskLayout, SaysWhyAFormDoesNotFit) {
  WeightForm form = form_of(sparse_weight(2, 8, Dtype::f32, random_mask(2, 8, 1)));
  EXPECT_EQ(bitmask_why_not(form, BitmaskLayout::sparse), "");
  EXPECT_THAT(bitmask_why_not(form, BitmaskLayout::sparse_24), HasSubstr("two of every four"));
  form.masked = false;
  EXPECT_THAT(bitmask_why_not(form, BitmaskLayout::sparse), HasSubstr("pruned matrices only"));
  EXPECT_THAT(bitmask_why_not(form_of(random_ints({})), BitmaskLayout::sparse), HasSubstr("unquantized"));
}

TEST(BitmaskLayout, MalformedTensorsAreNamed) {
  struct Case {
    const char* message;
    BitmaskLayout layout;
    const char* suffix;  // the tensor whose bytes are changed
    std::function<void(BitmaskParts&, std::vector<std::byte>&)> damage;
  };
  const auto sparse = BitmaskLayout::sparse, sparse_24 = BitmaskLayout::sparse_24;
  const std::vector<Case> cases{
      {"m.shape: says 0 x 12", sparse, ".shape", [](auto&, auto& d) { d[0] = std::byte{0}; }},
      {"m.bitmask: shape [5, 2], expected [5, 3]", sparse, ".shape", [](auto&, auto& d) { d[8] = std::byte{20}; }},
      {"m.bitmask: row 4 has bits beyond column 11", sparse, ".bitmask", [](auto&, auto& d) { d[9] |= std::byte{16}; }},
      {"m.row_offsets: row 2 starts at 200, by the bitmask at", sparse, ".row_offsets",
       [](auto&, auto& d) { d[16] = std::byte{200}; }},
      {"m.row_offsets: row 1 starts at", sparse, ".bitmask", [](auto&, auto& d) { d[0] ^= std::byte{1}; }},
      {"m.compressed: holds", sparse, ".bitmask", [](auto&, auto& d) { d[8] ^= std::byte{1}; }},
      {"m.compressed: type I32, expected F16 or BF16 or F32 or F64", sparse, ".shape",
       [](auto& p, auto&) { p.compressed.dtype = Dtype::i32; }},
      {"m.bitmask: row 1 does not keep two of every four around column 0", sparse_24, ".bitmask",
       [](auto&, auto& d) { d[2] = std::byte{0x37}; }},
      {"m.bitmask: row 1 does not keep two of every four around column 8", sparse_24, ".bitmask",
       [](auto&, auto& d) { d[3] = std::byte{0}; }},
      {"rows of 13 are not whole groups of four", sparse_24, ".shape", [](auto&, auto& d) { d[8] = std::byte{13}; }},
      {"m.compressed: shape [5, 6], expected [5, 8]", sparse_24, ".shape",
       [](auto&, auto& d) { d[8] = std::byte{16}; }},
  };
  for (const Case& c : cases) {
    const Mask mask = c.layout == sparse ? random_mask(5, 12, 6) : two_of_four_mask(5, 12, 6);
    const Stored stored = bitmask_stored(sparse_weight(5, 12, Dtype::f32, mask), c.layout);
    BitmaskParts parts = bitmask_parts(stored);
    const StoredView original = stored.view(c.suffix);
    std::vector<std::byte> bytes(original.data.begin(), original.data.end());
    c.damage(parts, bytes);
    if (std::string(c.suffix) == ".shape") parts.shape.data = bytes;
    if (std::string(c.suffix) == ".bitmask") parts.bitmask.data = bytes;
    if (std::string(c.suffix) == ".row_offsets") parts.row_offsets->data = bytes;
    EXPECT_THAT(message_of([&] { unpack_bitmask(parts); }), HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace pare
