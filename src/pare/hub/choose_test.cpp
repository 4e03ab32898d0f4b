#include "pare/hub/choose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pare/base/error.h"

namespace pare {
namespace {

using Names = std::vector<std::string>;

std::vector<HubFile> files_of(const Names& names) {
  std::vector<HubFile> files;
  for (const std::string& name : names) files.push_back({name, 1000, "", std::string(40, 'a')});
  return files;
}

Names chosen(const Names& names, const HubWish& wish = {}) {
  Names result;
  for (const HubFile& file : choose_files(files_of(names), wish, "org/name").files) result.push_back(file.path);
  return result;
}

template <class E>
std::string fault(const Names& names, const HubWish& wish = {}) {
  try {
    chosen(names, wish);
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

TEST(HubChoice, LeavesOutTheSameWeightsInOtherForms) {
  const Names needed = {"config.json", "tokenizer.json", "1_Dense/model.safetensors",
                        "model-00001-of-00002.safetensors", "chat_template.jinja"};
  Names all = needed;
  for (const char* other : {"pytorch_model-00001-of-00002.bin", "tf_model.h5", "flax_model.msgpack", "onnx/model.onnx",
                            "onnx/model.onnx_data", "consolidated.safetensors", "original/consolidated.00.pth",
                            "name-f16.gguf", "MODEL.BIN"}) {
    all.push_back(other);
  }
  EXPECT_EQ(chosen(all), needed);
  EXPECT_EQ(choose_files(files_of(all), {}, "org/name").left_out.size(), 9u);
  EXPECT_EQ(choose_files(files_of(all), {}, "org/name").model_file, "");
  EXPECT_EQ(chosen({"consolidated.safetensors", "params.json"}), (Names{"consolidated.safetensors", "params.json"}));
  EXPECT_EQ(chosen({"tokenizer.json", "README.md"}), (Names{"tokenizer.json", "README.md"}));
}

TEST(HubChoice, RefusesWeightsThatPareDoesNotRead) {
  EXPECT_THAT(fault<UnsupportedError>({"config.json", "pytorch_model.bin"}), testing::HasSubstr("pytorch_model.bin"));
  EXPECT_EQ(chosen({"config.json", "pytorch_model.bin"}, {"", {"*"}, {}}), (Names{"config.json", "pytorch_model.bin"}));
}

TEST(HubChoice, TakesTheOnlyGgufModelWithAllItsParts) {
  EXPECT_EQ(chosen({"README.md", "m.Q4_0.gguf", "mmproj-m-F16.gguf", "imatrix_m.gguf"}), Names{"m.Q4_0.gguf"});
  const Names parts = {"b/m-Q8_0-00001-of-00002.gguf", "b/m-Q8_0-00002-of-00002.gguf"};
  EXPECT_EQ(chosen({parts[1], "README.md", parts[0]}), parts);
  EXPECT_EQ(choose_files(files_of({parts[1], parts[0]}), {}, "org/name").model_file, parts[0]);
  EXPECT_EQ(chosen({parts[1], parts[0], "m-Q4_0.gguf"}, {parts[1], {}, {}}), parts);
}

TEST(HubChoice, AsksWhichGgufAndListsThemWithTheirSizes) {
  const std::string words =
      fault<UsageError>({"m-Q4_0.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"});
  EXPECT_THAT(words, testing::HasSubstr("m-Q4_0.gguf  1.00 kB"));
  EXPECT_THAT(words, testing::HasSubstr("m-Q8_0-00001-of-00002.gguf  2.00 kB in 2 files"));
}

TEST(HubChoice, FindsAGgufByItsType) {
  const Names names = {"m-Q4_K_M.gguf", "m-Q4_K_S.gguf",     "m.IQ4_XS.gguf",  "BF16/m-00001-of-00001.gguf",
                       "m-f16.gguf",    "model.safetensors", "mmproj-F16.gguf"};
  for (const auto& [type, file] :
       std::vector<std::pair<std::string, std::string>>{{"Q4_K_M", "m-Q4_K_M.gguf"},
                                                        {"q4_k_s", "m-Q4_K_S.gguf"},
                                                        {"IQ4_XS", "m.IQ4_XS.gguf"},
                                                        {"BF16", "BF16/m-00001-of-00001.gguf"},
                                                        {"F16", "m-f16.gguf"},
                                                        {"mmproj-F16.gguf", "mmproj-F16.gguf"}}) {
    EXPECT_EQ(chosen(names, {type, {}, {}}), Names{file}) << type;
  }
  EXPECT_THAT(fault<UsageError>(names, {"4_XS", {}, {}}), testing::HasSubstr("no file or GGUF type"));
  EXPECT_THAT(fault<UsageError>(names, {"m-Q4_K_M.ggfu", {}, {}}), testing::HasSubstr("did you mean m-Q4_K_M.gguf?"));
  EXPECT_THAT(fault<UsageError>({"a-Q4_0.gguf", "b-Q4_0.gguf"}, {"Q4_0", {}, {}}), testing::HasSubstr("several"));
}

TEST(HubChoice, ObeysGlobs) {
  const Names names = {"config.json", "model.safetensors", "onnx/model.onnx", "onnx/a/config.json"};
  EXPECT_EQ(chosen(names, {"", {"*.json"}, {}}), (Names{"config.json", "onnx/a/config.json"}));
  EXPECT_EQ(chosen(names, {"", {"*"}, {"onnx/"}}), (Names{"config.json", "model.safetensors"}));
  EXPECT_EQ(chosen(names, {"", {}, {"*.json"}}), Names{"model.safetensors"});
  EXPECT_THAT(fault<UsageError>(names, {"", {"*.gguf"}, {}}), testing::HasSubstr("--include"));
}

}  // namespace
}  // namespace pare
