#include "pare/text/gguf_wordpiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/io/test_files.h"
#include "pare/text/tokenizer.h"

namespace pare {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

Json good() {
  return Json::parse(R"({
    "version": "1.0", "truncation": {"max_length": 8, "strategy": "LongestFirst", "stride": 0}, "padding": null,
    "added_tokens": [
      {"id": 0, "content": "[PAD]", "special": true}, {"id": 1, "content": "[UNK]", "special": true},
      {"id": 2, "content": "[CLS]", "special": true}, {"id": 3, "content": "[SEP]", "special": true}],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                   "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
      "pair": [], "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                                     "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100,
              "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[unused1]": 4, "play": 5, "##ing": 6, "##s": 7,
                        "s": 8, "#": 10}}})");
}

GgufMetadata metadata_of(const Json& json) {
  return Tokenizer::from_json(json.dump(), "tokenizer.json").to_gguf();
}

template <class T>
T value_of(const GgufMetadata& metadata, const std::string& key) {
  for (const auto& [name, value] : metadata) {
    if (name == key) return std::get<T>(value);
  }
  ADD_FAILURE() << key << " is not there";
  return {};
}

Tokenizer through_gguf(const GgufMetadata& metadata, const TemporaryFolder& folder) {
  const auto path = folder.path() / "tokenizer.gguf";
  std::filesystem::remove(path);
  GgufWriter writer(path, metadata, {});
  writer.finish();
  return Tokenizer::open(path);
}

TEST(GgufWordPiece, WordsGetAMarkAndContinuationsLoseTheirs) {
  const GgufMetadata metadata = metadata_of(good());
  EXPECT_THAT(std::get<std::vector<std::string>>(value_of<GgufArray>(metadata, "tokenizer.ggml.tokens").items),
              ElementsAre("[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁[unused1]", "▁play", "ing", "s", "▁s", "[PAD9]", "▁#"));
  EXPECT_THAT(std::get<std::vector<int64_t>>(value_of<GgufArray>(metadata, "tokenizer.ggml.token_type").items),
              ElementsAre(3, 3, 3, 3, 1, 1, 1, 1, 1, 5, 1));
  EXPECT_EQ(value_of<std::string>(metadata, "tokenizer.ggml.model"), "bert");
  EXPECT_TRUE(value_of<bool>(metadata, "tokenizer.ggml.normalizer.lowercase"));
  EXPECT_TRUE(value_of<bool>(metadata, "tokenizer.ggml.normalizer.strip_accents"));
  for (const auto& [key, id] : {std::pair("bos", 2), std::pair("cls", 2), std::pair("eos", 3),
                                std::pair("seperator", 3), std::pair("unknown", 1)}) {
    EXPECT_EQ(value_of<uint64_t>(metadata, "tokenizer.ggml." + std::string(key) + "_token_id"), id) << key;
  }
}

TEST(GgufWordPiece, ComesBackAsItWas) {
  const TemporaryFolder folder;
  for (const Json& strip : {Json(nullptr), Json(true), Json(false)}) {
    for (const bool lowercase : {true, false}) {
      Json json = good();
      json["normalizer"]["lowercase"] = lowercase;
      json["normalizer"]["strip_accents"] = strip;
      const Tokenizer back = through_gguf(metadata_of(json), folder);
      EXPECT_EQ(back.kind(), "WordPiece");
      const Json read = Json::parse(back.to_json());
      EXPECT_EQ(read["model"], json["model"]);
      EXPECT_EQ(read["pre_tokenizer"], json["pre_tokenizer"]);
      EXPECT_EQ(read["post_processor"]["single"], json["post_processor"]["single"]);
      EXPECT_EQ(read["post_processor"]["special_tokens"], json["post_processor"]["special_tokens"]);
      if (strip == lowercase) json["normalizer"]["strip_accents"] = nullptr;  // what null means
      EXPECT_EQ(read["normalizer"], json["normalizer"]);
      EXPECT_EQ(metadata_of(read), metadata_of(json));
      EXPECT_EQ(Json::parse(back.config_json())["cls_token"], "[CLS]");
    }
  }
}

TEST(GgufWordPiece, OldFilesAreReadToo) {  // of 2024: no normalizer, no types, brackets as they stand
  const TemporaryFolder folder;
  const GgufMetadata metadata{
      {"tokenizer.ggml.model", std::string("bert")},
      {"tokenizer.ggml.bos_token_id", uint64_t{2}},
      {"tokenizer.ggml.seperator_token_id", uint64_t{3}},
      {"tokenizer.ggml.unknown_token_id", uint64_t{1}},
      {"tokenizer.ggml.tokens",
       GgufArray{std::vector<std::string>{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[unused1]", "▁play", "ing", "▁"}}}};
  const Json read = Json::parse(through_gguf(metadata, folder).to_json());
  EXPECT_EQ(read["model"]["vocab"], Json({{"[PAD]", 0},
                                          {"[UNK]", 1},
                                          {"[CLS]", 2},
                                          {"[SEP]", 3},
                                          {"[unused1]", 4},
                                          {"play", 5},
                                          {"##ing", 6},
                                          {"##▁", 7}}));
  EXPECT_EQ(read["normalizer"]["lowercase"], true);
  EXPECT_EQ(read["added_tokens"].size(), 4u);
}

TEST(GgufWordPiece, BertProcessingIsTheSameTemplate) {
  Json json = good();
  json["post_processor"] = {{"type", "BertProcessing"}, {"cls", {"[CLS]", 2}}, {"sep", {"[SEP]", 3}}};
  EXPECT_EQ(metadata_of(json), metadata_of(good()));
}

TEST(GgufWordPiece, CutsNoText) {
  const Tokenizer tokenizer = Tokenizer::from_json(good().dump(), "tokenizer.json");
  EXPECT_THAT(message_of([&] { tokenizer.encode("playing"); }), HasSubstr("cuts no text with it"));
  EXPECT_THAT(message_of([&] { tokenizer.decode(std::vector<int32_t>{5}); }), HasSubstr("cuts no text with it"));
  EXPECT_EQ(tokenizer.vocab_size(), 11);
  EXPECT_EQ(tokenizer.token(6), "##ing");
}

TEST(GgufWordPiece, EachWayToBeWrongHasItsError) {
  struct Case {
    const char* name;
    std::function<void(Json&)> damage;
    Exit code;
    const char* message;
  };
  const Exit bad = Exit::bad_input, unsupported = Exit::unsupported;
  const Case cases[] = {
      {"another prefix", [](Json& j) { j["model"]["continuing_subword_prefix"] = "@@"; }, unsupported, "\"@@\""},
      {"an unknown key", [](Json& j) { j["model"]["magic"] = 1; }, unsupported, "\"magic\" is not known"},
      {"no vocab", [](Json& j) { j["model"].erase("vocab"); }, bad, "vocab: expected"},
      {"two pieces, one token", [](Json& j) { j["model"]["vocab"]["##▁s"] = 11; }, unsupported,
       "which two pieces become"},
      {"a huge id", [](Json& j) { j["model"]["vocab"]["x"] = 4'000'000; }, unsupported, "ids up to 4000000"},
      {"no normalizer", [](Json& j) { j["normalizer"] = nullptr; }, unsupported, "normalizer null"},
      {"text not cleaned", [](Json& j) { j["normalizer"]["clean_text"] = false; }, unsupported, "clean_text false"},
      {"Chinese not set apart", [](Json& j) { j["normalizer"]["handle_chinese_chars"] = false; }, unsupported,
       "handle_chinese_chars false"},
      {"accents a number", [](Json& j) { j["normalizer"]["strip_accents"] = 1; }, bad, "strip_accents"},
      {"another pre-tokenizer", [](Json& j) { j["pre_tokenizer"]["type"] = "Whitespace"; }, unsupported, "Whitespace"},
      {"nothing around the text", [](Json& j) { j["post_processor"] = nullptr; }, unsupported, "one on either side"},
      {"no token behind it", [](Json& j) { j["post_processor"]["single"].erase(2); }, unsupported,
       "one on either side"},
      {"an id that is no token", [](Json& j) { j["post_processor"]["special_tokens"]["[CLS]"]["ids"] = {77}; }, bad,
       "id 77 is no token"},
      {"half a pair",
       [](Json& j) {
         j["post_processor"] = {{"type", "BertProcessing"}, {"cls", Json::array({"[CLS]"})}, {"sep", {"[SEP]", 3}}};
       },
       bad, "expected a token and its id"},
      {"an added token that strips", [](Json& j) { j["added_tokens"][0]["lstrip"] = true; }, unsupported, "lstrip"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    Json json = good();
    one.damage(json);
    try {
      metadata_of(json);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), one.code);
      EXPECT_THAT(error.what(), HasSubstr(one.message));
    }
  }
}

TEST(GgufWordPiece, EachWayForAFileToBeDamagedHasItsError) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& key, std::optional<GgufValue> value) {
    GgufMetadata metadata = metadata_of(good());
    std::erase_if(metadata, [&](const auto& entry) { return entry.first == key; });
    if (value) metadata.emplace_back(key, *value);
    return message_of([&] { through_gguf(metadata, folder).to_json(); });
  };
  EXPECT_THAT(message("tokenizer.ggml.unknown_token_id", std::nullopt), HasSubstr("unknown_token_id: is missing"));
  EXPECT_THAT(message("tokenizer.ggml.cls_token_id", uint64_t{99}), HasSubstr("id 99, but there are 11 tokens"));
  EXPECT_THAT(message("tokenizer.ggml.normalizer.lowercase", std::string("yes")), HasSubstr("expected true or false"));
  EXPECT_THAT(message("tokenizer.ggml.tokens", GgufArray{std::vector<std::string>{}}), HasSubstr("no tokens"));
  EXPECT_THAT(message("tokenizer.ggml.token_type", GgufArray{std::vector<int64_t>{1}}), HasSubstr("1 types for 11"));
}

}  // namespace
}  // namespace pare
