// Pare's own container: every form there and back, of the size that was announced, and what damage is called.
#include "pare/weights/pare_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/weights/encode/additive_fit.h"
#include "pare/weights/weights_for_tests.h"

namespace pare {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// The tensors of one weight as a file would hold them.
class Stored {
 public:
  Stored(const Weight& weight, const std::string& name) : form_(form_of(weight)), name_(name) {
    const std::vector<TensorSpec> specs = pare_tensors(form_, name);
    const std::vector<StoredTensor> tensors = pack_pare(weight, name);
    EXPECT_EQ(specs.size(), tensors.size());
    for (size_t i = 0; i < specs.size(); ++i) {
      EXPECT_EQ(specs[i].name, tensors[i].name);
      data_[specs[i].name] = tensors[i].data;
      views_[specs[i].name] = {specs[i].name, specs[i].dtype, specs[i].shape, data_[specs[i].name]};
      bytes_ += tensors[i].data.size();
    }
  }
  StoredView& view(const std::string& part) { return views_.at(name_ + part); }
  std::vector<std::byte>& data(const std::string& part) { return data_.at(name_ + part); }
  WeightForm& form() { return form_; }
  uint64_t bytes() const { return bytes_; }

  Weight read() const {
    return unpack_pare(form_, name_, [&](const std::string& tensor) {
      const auto found = views_.find(tensor);
      if (found == views_.end()) throw InputError("no tensor " + tensor);
      return found->second;
    });
  }

 private:
  WeightForm form_;
  std::string name_;
  std::map<std::string, std::vector<std::byte>> data_;
  std::map<std::string, StoredView> views_;
  uint64_t bytes_ = 0;
};

Weight masked_dense() {
  std::vector<float> values(6 * 20);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 50;
  Weight weight = dense_weight({6, 20}, Dtype::bf16, values);
  weight.mask = random_mask(6, 20, 5);
  return weight;
}

std::map<std::string, Weight> weights_of_all_forms() {
  std::map<std::string, Weight> weights;
  weights["dense"] = dense_weight({2, 3, 4}, Dtype::f16, std::vector<float>(24, 1.5f));
  weights["masked"] = masked_dense();
  weights["2:4"] = dense_weight({4, 16}, Dtype::f32, std::vector<float>(64, 2.0f));
  weights["2:4"].mask = two_of_four_mask(4, 16, 1);
  weights["ints"] = random_ints({.rows = 5, .cols = 70, .bits = 3, .group = 32});
  weights["zeros"] =
      random_ints({.rows = 5, .cols = 70, .bits = 5, .group = 32, .symmetric = false, .scale_dtype = Dtype::bf16});
  weights["permuted"] =
      random_ints({.rows = 4, .cols = 64, .group = 16, .scale_dtype = Dtype::f32, .shuffled_groups = true});
  weights["ternary"] = random_ints({.rows = 4, .cols = 64, .bits = 2, .group = 64, .ternary = true, .masked = true});
  weights["joint"] = random_ints({.rows = 7, .cols = 48, .symmetric = false, .masked = true});
  std::vector<std::byte> blocks(3 * 2 * 18);
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<std::byte>(i % 18 == 1 ? 0x20 : i * 7);
  weights["blocks"] = {{3, 64}, GgufBlocks{ggml_type_named("Q4_0"), Bytes(std::move(blocks))}, {}};
  const Weight values = random_ints({.rows = 8, .cols = 64});
  weights["codes"] = additive_codes(values, {.bits = 4, .books = 2, .out_group = 1, .in_group = 8}, "w");
  weights["wide codes"] = additive_codes(values, {.bits = 9, .books = 1, .out_group = 1, .in_group = 4}, "w");
  weights["wide codes"].mask = random_mask(8, 64, 2);
  return weights;
}

TEST(PareLayout, EveryFormComesBackAsItWas) {
  for (const auto& [name, weight] : weights_of_all_forms()) {
    SCOPED_TRACE(name);
    check_weight(weight, name);
    Stored stored(weight, name);
    EXPECT_EQ(stored.bytes(), weight.bytes());
    const auto forms = pare_forms(pare_metadata({{name, form_of(weight)}}), "file");
    ASSERT_TRUE(forms.has_value());
    stored.form() = forms->at(name);
    EXPECT_EQ(stored.form().bytes(), weight.bytes());
    const Weight back = stored.read();
    EXPECT_EQ(back.describe(), weight.describe());
    EXPECT_EQ(back.unpack(), weight.unpack());
    EXPECT_EQ(back.mask.has_value(), weight.mask.has_value());
    if (weight.mask) {
      EXPECT_EQ(back.mask->bits, weight.mask->bits);
    }
    if (const auto* ints = std::get_if<GroupedInts>(&weight.base)) {
      const auto& read = std::get<GroupedInts>(back.base);
      if (!weight.mask) {
        EXPECT_EQ(read.codes, ints->codes);
      }
      EXPECT_EQ(read.zeros, ints->zeros);
      EXPECT_EQ(read.group_index, ints->group_index);
    }
  }
}

TEST(PareLayout, MetadataOfOthersIsNotPares) {
  EXPECT_FALSE(pare_forms({{"format", "pt"}}, "file").has_value());
  EXPECT_TRUE(pare_forms(pare_metadata({}), "file")->empty());
  EXPECT_THROW(pare_forms({{"pare_format", "2"}, {"weights", "{}"}}, "file"), UnsupportedError);
  EXPECT_THROW(pare_forms({{"pare_format", "1"}}, "file"), InputError);
  EXPECT_THROW(pare_forms({{"pare_format", "1"}, {"weights", "[]"}}, "file"), InputError);
  EXPECT_THROW(pare_forms({{"pare_format", "1"}, {"weights", "{"}}, "file"), InputError);
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(PareLayout, DamagedFormsAreNamed) {
  const auto with = [](const std::string& base, const std::function<void(json&)>& damage) {
    const Weight weight = weights_of_all_forms().at(base);
    auto metadata = pare_metadata({{"m.w", form_of(weight)}});
    json weights = json::parse(metadata["weights"]);
    damage(weights["m.w"]);
    metadata["weights"] = weights.dump();
    return message_of([&] { pare_forms(metadata, "model.safetensors"); });
  };
  EXPECT_EQ(with("ints", [](json&) {}), "(no error)");
  EXPECT_THAT(with("ints", [](json& f) { f = 3; }), HasSubstr("model.safetensors: m.w: expected a JSON object"));
  EXPECT_THAT(with("ints", [](json& f) { f["base"] = "fractal"; }), HasSubstr("base \"fractal\" is not known"));
  EXPECT_THAT(with("ints", [](json& f) { f["bits"] = 9; }), HasSubstr("\"bits\" is no integer from 2 to 8"));
  EXPECT_THAT(with("ints", [](json& f) { f["group"] = 0; }), HasSubstr("\"group\" is no integer from 1 to 70"));
  EXPECT_THAT(with("ints", [](json& f) { f["symmetric"] = "yes"; }), HasSubstr("\"symmetric\" is neither"));
  EXPECT_THAT(with("ints", [](json& f) { f.erase("permuted"); }), HasSubstr("\"permuted\" is missing"));
  EXPECT_THAT(with("ints", [](json& f) { f["scale_dtype"] = "U8"; }), HasSubstr("expected F16, BF16 or F32"));
  EXPECT_THAT(with("ints",
                   [](json& f) {
                     f["shape"] = {5, 7, 2};
                   }),
              HasSubstr("packed and masked weights are matrices"));
  EXPECT_THAT(with("ints", [](json& f) { f["shape"] = {0, 70}; }), HasSubstr("and not empty"));
  EXPECT_THAT(with("ints", [](json& f) { f["shape"] = {int64_t{1} << 40, 70000}; }), HasSubstr("too many values"));
  EXPECT_THAT(with("ints", [](json& f) { f["shape"] = {-5, 70}; }), HasSubstr("what is no dimension"));
  EXPECT_THAT(with("blocks", [](json& f) { f["type"] = "Q9_K"; }), HasSubstr("block type \"Q9_K\" is not known"));
  EXPECT_THAT(with("blocks", [](json& f) { f["shape"] = {3, 65}; }), HasSubstr("rows are not whole blocks"));
  EXPECT_THAT(with("codes", [](json& f) { f["books"] = 1000; }), HasSubstr("\"books\" is no integer from 1 to 256"));
  EXPECT_THAT(with("codes", [](json& f) { f["in_group"] = 7; }), HasSubstr("not whole groups"));
  EXPECT_THAT(with("masked", [](json& f) { f["mask"]["kept"] = 121; }), HasSubstr("\"kept\" is no integer from 0"));
  EXPECT_THAT(with("masked", [](json& f) { f["mask"] = 1; }), HasSubstr("\"n\" is missing"));
}

TEST(PareLayout, DamagedTensorsAreNamed) {
  const auto with = [](const std::string& base, const std::function<void(Stored&)>& damage) {
    Stored stored(weights_of_all_forms().at(base), "m.w");
    damage(stored);
    return message_of([&] { stored.read(); });
  };
  EXPECT_EQ(with("joint", [](Stored&) {}), "(no error)");
  EXPECT_THAT(with("joint", [](Stored& s) { s.view(".codes").dtype = Dtype::i8; }), HasSubstr("m.w.codes: type I8"));
  EXPECT_THAT(with("joint", [](Stored& s) { s.form().shape = {6, 48}; }), HasSubstr("m.w.scales: shape [7, 2]"));
  EXPECT_THAT(with("joint", [](Stored& s) { s.form().kept -= 2; }), HasSubstr("m.w.codes: shape"));
  EXPECT_THAT(with("joint", [](Stored& s) { s.form().permuted = true; }), HasSubstr("no tensor m.w.group_index"));
  EXPECT_THAT(with("masked", [](Stored& s) { s.data(".mask")[2] = std::byte{0xff}; }), HasSubstr("bits beyond"));
  EXPECT_THAT(with("masked", [](Stored& s) { s.data(".mask")[0] ^= std::byte{1}; }), HasSubstr("its mask keeps"));
  EXPECT_THAT(with("blocks", [](Stored& s) { s.data(".blocks")[1] = std::byte{0x7c}; }), HasSubstr("is not finite"));
  EXPECT_THAT(with("codes", [](Stored& s) { s.data(".scales")[1] = std::byte{0x7c}; }),
              HasSubstr("m.w.scales: value 0"));
}

}  // namespace
}  // namespace pare
