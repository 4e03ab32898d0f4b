#include "pare/weights/model_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/float_types.h"
#include "pare/io/gguf_split.h"
#include "pare/io/safetensors_writer.h"
#include "pare/weights/bitmask_layout.h"
#include "pare/weights/compressed_tensors_layout.h"
#include "pare/weights/decoder_config.h"
#include "pare/weights/gguf_blocks.h"
#include "pare/weights/gptq_layout.h"
#include "pare/weights/rope_freqs.h"
#include "pare/weights/weights_for_tests.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

class ModelFilesTest : public testing::Test {
 protected:
  ModelFilesTest() {
    static std::atomic<int> count = 0;
    folder_ = fs::temp_directory_path() / ("pare_weights_" + std::to_string(getpid()) + "_" + std::to_string(count++));
    fs::create_directories(folder_);
  }
  ~ModelFilesTest() override { fs::remove_all(folder_); }

  void add(const std::string& name, Dtype dtype, std::vector<int64_t> shape, std::vector<std::byte> data) {
    specs_.push_back({name, dtype, std::move(shape)});
    data_.push_back({name, std::move(data)});
  }
  void add(const std::string& name, std::vector<int64_t> shape, const std::vector<float>& values,
           Dtype dtype = Dtype::f32) {
    const Weight weight = dense_weight(shape, dtype, values);
    const auto bytes = std::get<Dense>(weight.base).data.span();
    add(name, dtype, std::move(shape), {bytes.begin(), bytes.end()});
  }
  void add(std::vector<TensorSpec> specs, std::vector<StoredTensor> tensors) {
    for (size_t i = 0; i < specs.size(); ++i) {
      add(specs[i].name, specs[i].dtype, specs[i].shape, std::move(tensors[i].data));
    }
  }
  void drop(const std::string& name) {
    std::erase_if(specs_, [&](const TensorSpec& spec) { return spec.name == name; });
    std::erase_if(data_, [&](const StoredTensor& tensor) { return tensor.name == name; });
  }
  // Writes what was added as a Hugging Face folder and opens it.
  ModelFiles open_folder(const json& quantization = nullptr) {
    json config{{"model_type", "llama"}, {"hidden_size", 64}};
    if (!quantization.is_null()) config["quantization_config"] = quantization;
    write_text("config.json", config.dump());
    SafetensorsWriter writer(folder_ / "model.safetensors", specs_);
    for (const StoredTensor& tensor : data_) writer.write(tensor.name, tensor.data);
    writer.finish();
    return ModelFiles::open(folder_);
  }
  void write_text(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }

  void add_gguf(const std::string& name, const char* type, std::vector<int64_t> shape,
                const std::vector<float>& values) {
    const GgmlType* ggml = ggml_type_named(type);
    std::vector<std::byte> data(values.size() / static_cast<size_t>(ggml->block_elements) *
                                static_cast<size_t>(ggml->block_bytes));
    encode_blocks(*ggml, values, data);
    gguf_specs_.push_back({name, ggml, std::move(shape)});
    data_.push_back({name, std::move(data)});
  }
  // The same as one .gguf file, or split into files of at most so many bytes.
  ModelFiles open_gguf(const GgufMetadata& metadata, uint64_t split_bytes = 0) {
    std::map<std::string, std::span<const std::byte>> data;
    for (const StoredTensor& tensor : data_) data[tensor.name] = tensor.data;
    const std::vector<GgufPart> parts = split_gguf("model", metadata, gguf_specs_, split_bytes);
    for (const GgufPart& part : parts) {
      GgufWriter writer(folder_ / part.file_name, part.metadata, part.tensors);
      for (const GgufTensorSpec& tensor : part.tensors) writer.write(tensor.name, data.at(tensor.name));
      writer.finish();
    }
    return ModelFiles::open(folder_ / parts[0].file_name);
  }

  fs::path folder_;
  std::vector<TensorSpec> specs_;
  std::vector<GgufTensorSpec> gguf_specs_;
  std::vector<StoredTensor> data_;
};

std::vector<float> counted(int64_t count, float step = 1) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * step;
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

std::vector<std::string> names_of(const ModelFiles& model) {
  std::vector<std::string> names;
  for (const ParameterInfo& info : model.parameters()) names.push_back(info.name);
  return names;
}

TEST_F(ModelFilesTest, ADenseFolderIsItsTensors) {
  add("model.norm.weight", {8}, counted(8));
  add("lm_head.weight", {2, 4}, counted(8, 0.5f), Dtype::bf16);
  const ModelFiles model = open_folder();
  EXPECT_EQ(model.format(), "safetensors");
  EXPECT_THAT(names_of(model), ElementsAre("model.norm.weight", "lm_head.weight"));
  EXPECT_EQ(model.read("lm_head.weight").unpack(), counted(8, 0.5f));
  EXPECT_EQ(model.find("lm_head.weight")->format, "BF16");
  EXPECT_EQ(model.find("lm_head.weight")->bytes, 16u);
  EXPECT_EQ(model.find("lm_head.weight")->shape, (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(model.find("lm_head.bias"), nullptr);
  EXPECT_THAT(message_of([&] { model.read("lm_head.bias"); }), HasSubstr("lm_head.bias"));
  EXPECT_EQ(model.bytes(), fs::file_size(folder_ / "model.safetensors"));
  EXPECT_EQ(model.config()["hidden_size"], 64);
  model.release("lm_head.weight");
  EXPECT_EQ(model.read("lm_head.weight").unpack(), counted(8, 0.5f));
}

TEST_F(ModelFilesTest, AWeightOutlivesTheModelItWasReadFrom) {
  add("w", {2, 4}, counted(8));
  const Weight weight = [&] { return open_folder().read("w"); }();
  EXPECT_EQ(weight.unpack(), counted(8));
}

TEST_F(ModelFilesTest, TheFingerprintFollowsWeightsAndConfig) {
  add("w", {2, 4}, counted(8));
  const std::string first = open_folder().fingerprint();
  EXPECT_EQ(open_folder().fingerprint(), first);
  data_[0].data[5] ^= std::byte{1};
  EXPECT_NE(open_folder().fingerprint(), first);
  data_[0].data[5] ^= std::byte{1};
  EXPECT_NE(open_folder({{"quant_method", "gptq"}, {"bits", 4}}).fingerprint(), first);
}

TEST_F(ModelFilesTest, GptqLayersAreIntegersUnderTheirParametersName) {
  const Weight q = random_ints({.rows = 64, .cols = 64, .bits = 4, .group = 32, .seed = 1});
  const Weight k = random_ints({.rows = 32, .cols = 64, .bits = 4, .group = 32, .seed = 2});
  add(gptq_tensors(form_of(q), "a.q"), pack_gptq(q, "a.q", GptqVersion::v1));
  add("a.q.bias", {64}, counted(64));
  add(gptq_tensors(form_of(k), "a.k"), pack_gptq(k, "a.k", GptqVersion::v1));
  const json config{{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}, {"desc_act", false}, {"sym", true}};
  const ModelFiles model = open_folder(config);
  EXPECT_EQ(model.format(), "gptq");
  EXPECT_FALSE(model.config().contains("quantization_config"));
  EXPECT_THAT(names_of(model), testing::UnorderedElementsAre("a.q.weight", "a.q.bias", "a.k.weight"));
  const ParameterInfo* info = model.find("a.q.weight");
  EXPECT_EQ(info->shape, (std::vector<int64_t>{64, 64}));
  EXPECT_EQ(info->format, "4-bit, groups of 32, symmetric");
  EXPECT_EQ(info->bytes, 64u * 32 + 2 * 8 * 4 + 2 * 64 * 2 + 64 * 4);
  EXPECT_EQ(model.read("a.q.weight").unpack(), q.unpack());
  EXPECT_EQ(model.read("a.k.weight").unpack(), k.unpack());
  EXPECT_EQ(model.read("a.q.bias").unpack(), counted(64));
  model.release("a.q.weight");
}

TEST_F(ModelFilesTest, OlderGptqFoldersKeepTheirConfigInAFileOfItsOwn) {
  const Weight q = random_ints({.rows = 32, .cols = 64, .bits = 8, .group = 64, .symmetric = false, .seed = 1});
  add(gptq_tensors(form_of(q), "q"), pack_gptq(q, "q", GptqVersion::v1));
  write_text("quantize_config.json", R"({"bits": 8, "group_size": -1, "desc_act": false, "sym": false})");
  const ModelFiles model = open_folder();
  EXPECT_EQ(model.format(), "gptq");
  EXPECT_EQ(model.read("q.weight").unpack(), q.unpack());
}

TEST_F(ModelFilesTest, GptqOverridesOfSingleLayersFollowFromShapes) {
  const Weight eight = random_ints({.rows = 32, .cols = 64, .bits = 8, .group = 16, .seed = 1});
  const Weight four = random_ints({.rows = 32, .cols = 64, .bits = 4, .group = 32, .seed = 2});
  add(gptq_tensors(form_of(eight), "eight"), pack_gptq(eight, "eight", GptqVersion::v2));
  add(gptq_tensors(form_of(four), "four"), pack_gptq(four, "four", GptqVersion::v2));
  const ModelFiles model = open_folder({{"quant_method", "gptq"},
                                        {"bits", 4},
                                        {"group_size", 32},
                                        {"sym", true},
                                        {"checkpoint_format", "gptq_v2"},
                                        {"dynamic", {{"+:.*eight", {{"bits", 8}, {"group_size", 16}}}}}});
  EXPECT_EQ(model.read("eight.weight").unpack(), eight.unpack());
  EXPECT_EQ(model.read("four.weight").unpack(), four.unpack());
}

TEST_F(ModelFilesTest, AGptqLayerThatLacksAPartSaysWhich) {
  const Weight q = random_ints({.rows = 32, .cols = 64, .bits = 4, .group = 32, .seed = 1});
  add(gptq_tensors(form_of(q), "q"), pack_gptq(q, "q", GptqVersion::v1));
  drop("q.scales");
  const ModelFiles model = open_folder({{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}});
  EXPECT_FALSE(model.find("q.weight")->readable);
  EXPECT_THAT(model.find("q.weight")->why_not, HasSubstr("q.scales"));
  try {
    model.read("q.weight");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("q.scales"));
  }
}

TEST_F(ModelFilesTest, PackQuantizedLayersTakeTheGroupThatFitsTheirShapes) {
  const Weight four = random_ints({.rows = 24, .cols = 96, .bits = 4, .group = 32, .symmetric = false, .seed = 1});
  const Weight eight =
      random_ints({.rows = 24, .cols = 96, .bits = 8, .group = 96, .scale_dtype = Dtype::bf16, .seed = 2});
  add(packed_tensors(form_of(four), "four"), pack_packed(four, "four"));
  add(packed_tensors(form_of(eight), "eight"), pack_packed(eight, "eight"));
  add("head.weight", {4, 4}, counted(16));
  const json groups{
      {"group_0",
       {{"targets", {"re:.*four$"}},
        {"weights",
         {{"num_bits", 4}, {"type", "int"}, {"symmetric", false}, {"strategy", "group"}, {"group_size", 32}}}}},
      {"group_1",
       {{"targets", {"eight"}},
        {"weights",
         {{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "channel"}, {"group_size", nullptr}}}}}};
  const ModelFiles model = open_folder({{"quant_method", "compressed-tensors"},
                                        {"format", "pack-quantized"},
                                        {"config_groups", groups},
                                        {"ignore", {"head"}}});
  EXPECT_EQ(model.format(), "compressed-tensors");
  EXPECT_EQ(model.find("four.weight")->format, "4-bit, groups of 32, asymmetric");
  EXPECT_EQ(model.find("eight.weight")->format, "8-bit, one group a row, symmetric");
  EXPECT_EQ(model.read("four.weight").unpack(), four.unpack());
  EXPECT_EQ(model.read("eight.weight").unpack(), eight.unpack());
  EXPECT_EQ(model.read("head.weight").unpack(), counted(16));
}

TEST_F(ModelFilesTest, BitmaskFoldersAreMaskedValues) {
  const std::vector<float> values = counted(5 * 16, 0.25f);
  Weight any = dense_weight({5, 16}, Dtype::f16, values), two = any;
  any.mask = random_mask(5, 16, 1);
  two.mask = two_of_four_mask(5, 16, 2);
  add(bitmask_tensors(form_of(any), "any.weight", BitmaskLayout::sparse),
      pack_bitmask(any, "any.weight", BitmaskLayout::sparse));
  add(bitmask_tensors(form_of(two), "two.weight", BitmaskLayout::sparse_24),
      pack_bitmask(two, "two.weight", BitmaskLayout::sparse_24));
  // older versions of the library put the suffixes after the whole name
  add(bitmask_tensors(form_of(any), "old.weight.weight", BitmaskLayout::sparse),
      pack_bitmask(any, "old.weight.weight", BitmaskLayout::sparse));
  const ModelFiles model =
      open_folder({{"quant_method", "compressed-tensors"}, {"sparsity_config", {{"format", "sparse-bitmask"}}}});
  EXPECT_THAT(names_of(model), testing::UnorderedElementsAre("any.weight", "two.weight", "old.weight"));
  EXPECT_EQ(model.read("old.weight").unpack(), any.unpack());
  EXPECT_EQ(model.read("any.weight").unpack(), any.unpack());
  EXPECT_EQ(model.read("two.weight").unpack(), two.unpack());
  EXPECT_EQ(model.find("any.weight")->format, any.describe());
  EXPECT_EQ(model.find("two.weight")->format, "2:4 of F16");
}

TEST_F(ModelFilesTest, WeightsThatNeedAScaleBesideThemAreNotHandedOutWithoutIt) {
  add("m.weight", Dtype::i8, {4, 4}, std::vector<std::byte>(16));
  add("m.weight_scale", {4, 1}, counted(4));
  add("n.weight", Dtype::f8_e5m2, {4, 4}, std::vector<std::byte>(16));
  add("n.weight_scale", {4, 1}, counted(4));
  for (const json& quantization : {json(nullptr), json{{"quant_method", "fp8"}}}) {
    const ModelFiles model = open_folder(quantization);
    EXPECT_FALSE(model.find("m.weight")->readable);
    EXPECT_THAT(message_of([&] { model.read("m.weight"); }), HasSubstr("quantized with scales in m.weight_scale"));
  }
  const ModelFiles model = open_folder({{"quant_method", "compressed-tensors"}, {"format", "float-quantized"}});
  EXPECT_TRUE(model.find("m.weight")->readable);
  EXPECT_THAT(message_of([&] { model.read("n.weight"); }), HasSubstr("(float-quantized)"));
}

std::vector<std::byte> all_bytes(size_t count, int value) {
  return std::vector<std::byte>(count, static_cast<std::byte>(value));
}

TEST_F(ModelFilesTest, Fp8FoldersAreDenseUnderTheirOwnName) {
  add("m.weight", Dtype::f8_e4m3, {4, 6}, all_bytes(24, 0x38));  // ones
  add("m.weight_scale", {4, 1}, counted(4), Dtype::bf16);
  add("m.input_scale", {1}, {1});
  add("b.weight", Dtype::f8_e4m3, {4, 6}, all_bytes(24, 0xb8));
  add("b.weight_scale", {2, 2}, counted(4), Dtype::bf16);
  const json weights{{"num_bits", 8}, {"type", "float"}, {"strategy", "block"}, {"block_structure", {2, 4}}};
  const ModelFiles model = open_folder({{"quant_method", "compressed-tensors"},
                                        {"format", "float-quantized"},
                                        {"config_groups", {{"group_0", {{"weights", weights}}}}}});
  EXPECT_THAT(names_of(model), testing::UnorderedElementsAre("m.weight", "b.weight"));
  EXPECT_EQ(model.find("m.weight")->format, "FP8, a scale a row");
  EXPECT_EQ(model.find("b.weight")->format, "FP8, a scale each 2 x 4");
  EXPECT_EQ(model.find("m.weight")->bytes, 24u + 8 + 4);
  EXPECT_EQ(model.read("m.weight").unpack()[6], 1.0f);
  EXPECT_EQ(model.read("b.weight").unpack()[23], -3.0f);
  ASSERT_EQ(model.notes().size(), 1u);
  EXPECT_THAT(model.notes()[0], HasSubstr("1 layers have scales for rounding their inputs"));

  add("m.weight_zero_point", Dtype::f8_e4m3, {4, 1}, all_bytes(4, 0));
  add("b.weight_zero_point", Dtype::f8_e4m3, {2, 2}, all_bytes(4, 1));
  const ModelFiles zeros = open_folder({{"quant_method", "compressed-tensors"},
                                        {"format", "float-quantized"},
                                        {"config_groups", {{"group_0", {{"weights", weights}}}}}});
  EXPECT_EQ(zeros.read("m.weight").unpack()[6], 1.0f);
  EXPECT_THAT(message_of([&] { zeros.read("b.weight"); }), HasSubstr("FP8 weights with zero points are not read"));

  for (const char* name : {"m.weight_scale", "b.weight_scale", "m.weight_zero_point", "b.weight_zero_point"})
    drop(name);
  add("m.weight_scale_inv", {1, 1}, {3});
  add("b.weight_scale_inv", {1, 2}, {3, 4});
  const ModelFiles other = open_folder({{"quant_method", "fp8"}, {"weight_block_size", {4, 4}}});
  EXPECT_EQ(other.format(), "fp8");
  EXPECT_EQ(other.read("b.weight").unpack()[23], -4.0f);
  EXPECT_EQ(other.read("m.weight").unpack()[0], 3.0f);
  EXPECT_THAT(message_of([&] {
                open_folder({{"quant_method", "fp8"}, {"weight_block_size", {0, 4}}});
              }),
              HasSubstr("weight_block_size is [0,4]"));
}

TEST_F(ModelFilesTest, IntQuantizedLayersAreEightBitGrids) {
  add("m.weight", Dtype::i8, {4, 6}, all_bytes(24, 0xfe));
  add("m.weight_scale", {4, 1}, counted(4), Dtype::bf16);
  add("m.input_scale", {1}, {1});
  const ModelFiles model = open_folder({{"quant_method", "compressed-tensors"}, {"format", "int-quantized"}});
  EXPECT_THAT(names_of(model), ElementsAre("m.weight"));
  EXPECT_EQ(model.find("m.weight")->format, "8-bit, one group a row, symmetric");
  EXPECT_EQ(model.read("m.weight").unpack()[23], -6.0f);
  EXPECT_EQ(model.notes().size(), 1u);
}

TEST_F(ModelFilesTest, AwqNf4AndAqlmFoldersAreReadByTheirMethod) {
  add("m.qweight", Dtype::i32, {4, 1}, all_bytes(16, 0x55));
  add("m.qzeros", Dtype::i32, {1, 1}, all_bytes(4, 0x33));
  add("m.scales", {1, 8}, counted(8), Dtype::f16);
  add("n.weight", {2, 2}, counted(4));
  const ModelFiles awq = open_folder({{"quant_method", "awq"}, {"bits", 4}, {"group_size", 4}, {"version", "GEMM"}});
  EXPECT_EQ(awq.format(), "awq");
  EXPECT_EQ(awq.read("m.weight").unpack()[31], 14.0f);
  EXPECT_EQ(awq.find("m.weight")->format, "4-bit, one group a row, asymmetric");
  EXPECT_THAT(message_of([&] { open_folder({{"quant_method", "awq"}, {"version", "gemv"}}); }), HasSubstr("gemv"));
  EXPECT_THAT(message_of([&] {
                open_folder({{"quant_method", "awq"}, {"zero_point", false}});
              }),
              HasSubstr("zero_point is false"));

  specs_.clear(), data_.clear();
  const std::string state = R"({"quant_type": "nf4", "blocksize": 4, "shape": [2, 4]})";
  add("m.weight", Dtype::u8, {4, 1}, all_bytes(4, 0x12));
  add("m.weight.absmax", {2}, {1, 2});
  add("m.weight.quant_map", {16}, counted(16));
  std::vector<std::byte> bytes(state.size());
  std::memcpy(bytes.data(), state.data(), state.size());
  add("m.weight.quant_state.bitsandbytes__nf4", Dtype::u8, {static_cast<int64_t>(state.size())}, bytes);
  add("n.weight", {2, 2}, counted(4));
  const ModelFiles nf4 = open_folder({{"load_in_4bit", true}});
  EXPECT_EQ(nf4.format(), "bitsandbytes");
  EXPECT_THAT(names_of(nf4), testing::UnorderedElementsAre("m.weight", "n.weight"));
  EXPECT_EQ(nf4.find("m.weight")->format, "NF4, blocks of 4");
  EXPECT_EQ(nf4.read("m.weight").unpack(), (std::vector<float>{1, 2, 1, 2, 2, 4, 2, 4}));
  EXPECT_THAT(message_of([&] {
                open_folder({{"quant_method", "bitsandbytes"}, {"load_in_8bit", true}});
              }),
              HasSubstr("8-bit folders are not read"));

  specs_.clear(), data_.clear();
  add("m.codes", Dtype::i8, {2, 1, 1}, all_bytes(2, 0xff));
  add("m.codebooks", {1, 4, 1, 2}, counted(8), Dtype::f16);
  add("m.scales", {2, 1, 1, 1}, {1, 2}, Dtype::f16);
  const ModelFiles aqlm = open_folder({{"quant_method", "aqlm"}, {"num_codebooks", 1}, {"nbits_per_codebook", 2}});
  EXPECT_EQ(aqlm.find("m.weight")->format, "AQLM, 1 x 2 bits for 1 x 2");
  EXPECT_EQ(aqlm.read("m.weight").unpack(), (std::vector<float>{6, 7, 12, 14}));
  EXPECT_THAT(message_of([&] {
                open_folder({{"quant_method", "aqlm"}, {"nbits_per_codebook", 40}});
              }),
              HasSubstr("nbits_per_codebook is 40"));
}

TEST_F(ModelFilesTest, WhatIsNoModelIsRefusedWithTheWayOut) {
  EXPECT_THAT(message_of([&] { ModelFiles::open(folder_ / "nothing"); }), HasSubstr("no such file or folder"));
  write_text("notes.txt", "hello");
  EXPECT_THAT(message_of([&] { ModelFiles::open(folder_ / "notes.txt"); }), HasSubstr(".gguf"));
  add("w", {2, 4}, counted(8));
  EXPECT_THAT(message_of([&] { open_folder({{"quant_method", "quip"}}); }), HasSubstr("\"quip\" is not supported"));
  EXPECT_THAT(message_of([&] { open_folder("four bits"); }), HasSubstr("quantization_config"));
}

TEST_F(ModelFilesTest, TheSameParameterInTwoFormsIsRefused) {
  const Weight q = random_ints({.rows = 32, .cols = 64, .seed = 1});
  add(gptq_tensors(form_of(q), "q"), pack_gptq(q, "q", GptqVersion::v1));
  add("q.weight", {4, 4}, counted(16));
  EXPECT_THAT(message_of([&] {
                open_folder({{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}});
              }),
              HasSubstr("q.weight is there twice"));
}

// Two heads of 8 for queries, one for keys; hidden 32.
GgufMetadata tiny_metadata(const std::string& architecture) {
  const std::string p = architecture + ".";
  return {{"general.architecture", architecture},
          {p + "block_count", uint64_t{1}},
          {p + "context_length", uint64_t{512}},
          {p + "embedding_length", uint64_t{32}},
          {p + "feed_forward_length", uint64_t{64}},
          {p + "attention.head_count", uint64_t{2}},
          {p + "attention.head_count_kv", uint64_t{1}},
          {p + "attention.key_length", uint64_t{8}},
          {p + "attention.value_length", uint64_t{8}},
          {p + "attention.layer_norm_rms_epsilon", 1e-5},
          {p + "rope.freq_base", 100000.0},
          {p + "rope.dimension_count", uint64_t{8}},
          {"tokenizer.ggml.bos_token_id", uint64_t{1}},
          {"tokenizer.ggml.eos_token_id", uint64_t{2}}};
}

TEST_F(ModelFilesTest, AGgufLlamaIsSeenAsAHuggingFaceModel) {
  std::vector<float> rows(16 * 32);  // each row holds its number
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i / 32);
  const std::vector<float> key_rows(rows.begin(), rows.begin() + 8 * 32);
  add_gguf("token_embd.weight", "Q8_0", {10, 32}, counted(320, 0.01f));
  add_gguf("blk.0.attn_norm.weight", "F32", {32}, counted(32));
  add_gguf("blk.0.ffn_norm.weight", "F32", {32}, counted(32, 2));
  add_gguf("blk.0.attn_q.weight", "F16", {16, 32}, rows);
  add_gguf("blk.0.attn_q.bias", "F32", {16}, counted(16));
  add_gguf("blk.0.attn_k.weight", "Q4_0", {8, 32}, key_rows);
  add_gguf("blk.0.attn_v.weight", "F16", {8, 32}, key_rows);
  add_gguf("output_norm.weight", "F32", {32}, counted(32));
  const ModelFiles model = open_gguf(tiny_metadata("llama"));
  EXPECT_EQ(model.format(), "gguf");
  EXPECT_THAT(names_of(model),
              ElementsAre("model.embed_tokens.weight", "model.layers.0.input_layernorm.weight",
                          "model.layers.0.post_attention_layernorm.weight", "model.layers.0.self_attn.q_proj.weight",
                          "model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.k_proj.weight",
                          "model.layers.0.self_attn.v_proj.weight", "model.norm.weight"));
  // GGUF's row 2i + s of a head of 8 is Hugging Face's row 4 s + i
  const int order[] = {0, 2, 4, 6, 1, 3, 5, 7};
  const std::vector<float> q = model.read("model.layers.0.self_attn.q_proj.weight").unpack();
  const std::vector<float> bias = model.read("model.layers.0.self_attn.q_proj.bias").unpack();
  for (size_t r = 0; r < 16; ++r) {
    EXPECT_EQ(q[r * 32], static_cast<float>(8 * (r / 8) + static_cast<size_t>(order[r % 8]))) << r;
    EXPECT_EQ(bias[r], q[r * 32]) << r;
  }
  const Weight k = model.read("model.layers.0.self_attn.k_proj.weight");
  EXPECT_EQ(k.describe(), "Q4_0");
  for (size_t r = 0; r < 8; ++r) EXPECT_FLOAT_EQ(k.unpack()[r * 32], static_cast<float>(order[r])) << r;
  EXPECT_EQ(model.read("model.layers.0.self_attn.v_proj.weight").unpack(), key_rows);
  EXPECT_EQ(model.find("model.embed_tokens.weight")->format, "Q8_0");

  const json& config = model.config();
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["vocab_size"], 10);
  EXPECT_EQ(config["rope_theta"], 100000.0);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["attention_bias"], true);
  EXPECT_EQ(config["bos_token_id"], 1);
  // 1e-5 and not the 9.999999747378752e-06 that it is in f32
  EXPECT_EQ(config["rms_norm_eps"].dump(), "1e-05");
  const DecoderConfig decoder = DecoderConfig::from_hf(config);
  EXPECT_EQ(decoder.head_dim, 8);
  EXPECT_EQ(decoder.kv_heads, 1);
  EXPECT_EQ(decoder.norm_eps, 1e-5);
}

TEST_F(ModelFilesTest, AFolderWithOneGgufFileStandsForIt) {
  add_gguf("token_embd.weight", "F16", {8, 32}, counted(256));
  add_gguf("output_norm.weight", "F32", {32}, counted(32));
  open_gguf(tiny_metadata("llama"));
  const ModelFiles model = ModelFiles::open(folder_);
  EXPECT_EQ(model.format(), "gguf");
  EXPECT_EQ(model.path(), folder_ / "model.gguf");
  EXPECT_EQ(model.read("model.norm.weight").unpack(), counted(32));
  fs::copy_file(folder_ / "model.gguf", folder_ / "another.gguf");
  EXPECT_THAT(
      message_of([&] { ModelFiles::open(folder_); }),
      testing::AllOf(HasSubstr("holds 2 GGUF models (another.gguf, model.gguf)"), HasSubstr("Give one of them")));
}

TEST_F(ModelFilesTest, PartsOfOneGgufModelAreOneModel) {
  add_gguf("token_embd.weight", "F16", {64, 32}, counted(2048));
  add_gguf("blk.0.attn_q.weight", "F16", {16, 32}, counted(512));
  add_gguf("output_norm.weight", "F32", {32}, counted(32));
  const ModelFiles model = open_gguf(tiny_metadata("llama"), 4000);
  ASSERT_EQ(model.weight_files().size(), 3u);
  EXPECT_EQ(model.path(), folder_ / "model-00001-of-00003.gguf");
  uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder_)) bytes += entry.file_size();
  EXPECT_EQ(model.bytes(), bytes);
  EXPECT_EQ(model.config()["vocab_size"], 64);  // of a tensor in the second part
  EXPECT_EQ(model.read("model.norm.weight").unpack(), counted(32));
  for (const ParameterInfo& parameter : model.parameters()) model.release(parameter.name);
  for (const fs::path& path : {folder_, folder_ / "model-00003-of-00003.gguf"}) {
    EXPECT_EQ(names_of(ModelFiles::open(path)), names_of(model)) << path;
    EXPECT_EQ(ModelFiles::open(path).fingerprint(), model.fingerprint());
  }
  fs::remove(folder_ / "model-00001-of-00003.gguf");
  EXPECT_THAT(message_of([&] { ModelFiles::open(folder_); }), HasSubstr("model-00001-of-00003.gguf: missing"));
  fs::copy_file(folder_ / "model-00002-of-00003.gguf", folder_ / "another.gguf");
  EXPECT_THAT(message_of([&] { ModelFiles::open(folder_); }), HasSubstr("2 GGUF models (another.gguf, model-00002"));
}

TEST_F(ModelFilesTest, GemmasNormsLoseTheOneThatGgufAdds) {
  add_gguf("token_embd.weight", "F16", {10, 32}, counted(320, 0.01f));
  add_gguf("blk.0.attn_norm.weight", "F32", {32}, counted(32));
  add_gguf("blk.0.post_attention_norm.weight", "F32", {32}, counted(32));
  add_gguf("blk.0.ffn_norm.weight", "F32", {32}, counted(32));
  add_gguf("blk.0.post_ffw_norm.weight", "F32", {32}, counted(32));
  add_gguf("blk.0.attn_q.weight", "F16", {16, 32}, counted(512));
  GgufMetadata metadata = tiny_metadata("gemma2");
  metadata.emplace_back("gemma2.attn_logit_softcapping", 50.0);
  metadata.emplace_back("gemma2.final_logit_softcapping", 30.0);
  metadata.emplace_back("gemma2.attention.sliding_window", uint64_t{128});
  const ModelFiles model = open_gguf(metadata);
  std::vector<float> lowered = counted(32);
  for (float& value : lowered) value -= 1;
  for (const char* norm :
       {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"}) {
    EXPECT_EQ(model.read("model.layers.0." + std::string(norm) + ".weight").unpack(), lowered) << norm;
  }
  EXPECT_EQ(model.read("model.layers.0.self_attn.q_proj.weight").unpack(), counted(512));  // rows stay
  const DecoderConfig decoder = DecoderConfig::from_hf(model.config());
  EXPECT_TRUE(decoder.norm_plus_one);
  EXPECT_EQ(decoder.attention_softcap, 50);
  EXPECT_EQ(decoder.logit_softcap, 30);
  EXPECT_EQ(decoder.sliding_window, 128);
  EXPECT_DOUBLE_EQ(decoder.attention_scale, 1 / std::sqrt(8.0));  // query_pre_attn_scalar is head_dim
}

TEST_F(ModelFilesTest, Llama3ScalingComesFromTheTensorOfDivisors) {
  RopeScaling scaling;
  scaling.type = RopeScaling::Type::llama3;
  scaling.factor = 8;
  scaling.original_max_positions = 256;
  add_gguf("token_embd.weight", "F16", {10, 32}, counted(320, 0.01f));
  add_gguf("rope_freqs.weight", "F32", {4}, rope_divisors(scaling, 100000, 8));
  const ModelFiles model = open_gguf(tiny_metadata("llama"));
  EXPECT_THAT(names_of(model), ElementsAre("model.embed_tokens.weight"));
  EXPECT_EQ(model.config()["rope_scaling"]["rope_type"], "llama3");
  const DecoderConfig decoder = DecoderConfig::from_hf(model.config());
  EXPECT_EQ(rope_divisors(decoder.rope.scaling, 100000, 8), rope_divisors(scaling, 100000, 8));
}

TEST_F(ModelFilesTest, FaultsOfGgufModelsAreNamed) {
  const auto without = [](GgufMetadata metadata, const std::string& key) {
    std::erase_if(metadata, [&](const auto& entry) { return entry.first == key; });
    return metadata;
  };
  add_gguf("token_embd.weight", "F16", {10, 32}, counted(320, 0.01f));
  EXPECT_THAT(message_of([&] { open_gguf(tiny_metadata("phi9")); }), HasSubstr("\"phi9\""));
  EXPECT_THAT(message_of([&] { open_gguf(without(tiny_metadata("llama"), "llama.block_count")); }),
              HasSubstr("llama.block_count"));
  EXPECT_THAT(message_of([&] { open_gguf(without(tiny_metadata("llama"), "general.architecture")); }),
              HasSubstr("general.architecture"));
  add_gguf("blk.0.attn_k.weight", "F16", {7, 32}, counted(7 * 32));
  add_gguf("blk.0.attn_zap.weight", "F16", {7, 32}, counted(7 * 32));
  const ModelFiles model = open_gguf(tiny_metadata("llama"));
  EXPECT_THAT(message_of([&] { model.read("model.layers.0.self_attn.k_proj.weight"); }), HasSubstr("7 rows"));
  EXPECT_FALSE(model.find("blk.0.attn_zap.weight")->readable);
}

// The real one where it is at hand: PARE_TEST_GGUF=SmolLM2-135M-Instruct.Q4_1.gguf
TEST(ModelFilesReal, SmolLm2HasItsThirtyLayersAndItsConfig) {
  const char* path = std::getenv("PARE_TEST_GGUF");
  if (path == nullptr) GTEST_SKIP() << "PARE_TEST_GGUF is not set";
  const ModelFiles model = ModelFiles::open(path);
  EXPECT_EQ(model.parameters().size(), 272u);
  const DecoderConfig decoder = DecoderConfig::from_hf(model.config());
  EXPECT_EQ(decoder.layers, 30);
  EXPECT_EQ(decoder.vocab_size, 49152);
  EXPECT_EQ(decoder.rope.theta, 100000);
  EXPECT_EQ(decoder.norm_eps, 1e-5);
  EXPECT_EQ(decoder.max_positions, 8192);
  EXPECT_TRUE(decoder.tied_embeddings);
  int64_t elements = 0;
  for (const ParameterInfo& info : model.parameters()) {
    EXPECT_TRUE(info.readable) << info.name;
    elements += model.read(info.name).elements();
  }
  EXPECT_EQ(elements, 134515008);
}

}  // namespace
}  // namespace pare
