#include "pare/weights/sentence_modules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/io/test_files.h"

namespace pare {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json module(const char* type, const char* path) {
  return {{"idx", 0}, {"name", "0"}, {"path", path}, {"type", "sentence_transformers.models." + std::string(type)}};
}

// A folder with a model of one tensor, and sentence-transformers' files around it.
struct Folder {
  TemporaryFolder files;
  json modules = {module("Transformer", ""), module("Pooling", "1_Pooling"), module("Normalize", "2_Normalize")};
  json pooling = {
      {"word_embedding_dimension", 8}, {"pooling_mode_cls_token", false}, {"pooling_mode_mean_tokens", true}};

  SentenceModules read() const {
    const std::string header = R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    files.write("config.json", R"({"model_type": "bert"})");
    files.write("model.safetensors", raw<uint64_t>(header.size()) + header + raw(1.0f));
    files.write("modules.json", modules.dump());
    files.write("1_Pooling/config.json", pooling.dump());
    return sentence_modules(ModelFiles::open(files.path()));
  }
};

TEST(SentenceModules, ModeIsAFlagOrAWord) {
  Folder folder;
  EXPECT_EQ(folder.read().pooling, SentencePooling::mean);
  folder.pooling = {{"pooling_mode_cls_token", true}, {"pooling_mode_mean_tokens", false}};
  EXPECT_EQ(folder.read().pooling, SentencePooling::cls);
  folder.pooling = {{"pooling_mode", "lasttoken"}};
  EXPECT_EQ(folder.read().pooling, SentencePooling::last);
  folder.modules = json::array();
  EXPECT_EQ(folder.read().pooling, std::nullopt);
}

TEST(SentenceModules, LongestTextAndPromptAreSaid) {
  Folder folder;
  folder.files.write("sentence_bert_config.json", R"({"max_seq_length": 256})");
  folder.files.write("config_sentence_transformers.json",
                     R"({"prompts": {"query": "query: ", "passage": ""}, "default_prompt_name": "query"})");
  EXPECT_EQ(folder.read().longest_text, 256);
  EXPECT_EQ(folder.read().put_before, "query: ");
}

TEST(SentenceModules, WhatIsWrittenIsReadBack) {
  EncoderConfig config;
  config.hidden = 8;
  config.max_positions = 512;
  for (const SentencePooling pooling : {SentencePooling::mean, SentencePooling::cls, SentencePooling::last}) {
    Folder folder;
    folder.read();
    for (const auto& [name, text] : sentence_files(pooling, config)) folder.files.write(name.string(), text);
    const SentenceModules back = sentence_modules(ModelFiles::open(folder.files.path()));
    EXPECT_EQ(back.pooling, pooling);
    EXPECT_EQ(back.longest_text, 512);
  }
}

TEST(SentenceModules, EachWayToBeWrongHasItsError) {
  struct Case {
    const char* name;
    std::function<void(Folder&)> damage;
    Exit code;
    const char* message;
  };
  const Exit bad = Exit::bad_input, unsupported = Exit::unsupported;
  const Case cases[] = {
      {"no mode", [](Folder& f) { f.pooling = json::object(); }, bad, "no pooling mode is true"},
      {"max",
       [](Folder& f) {
         f.pooling = {{"pooling_mode_max_tokens", true}};
       },
       unsupported, "pooling_mode_max_tokens; GGUF has mean, cls and the last token"},
      {"a word that is not known",
       [](Folder& f) {
         f.pooling = {{"pooling_mode", "weightedmean"}};
       },
       unsupported, "pooling_mode \"weightedmean\""},
      {"two modes", [](Folder& f) { f.pooling["pooling_mode_cls_token"] = true; }, unsupported,
       "several pooling modes"},
      {"a mode that is a number", [](Folder& f) { f.pooling["pooling_mode_cls_token"] = 1; }, bad,
       "pooling_mode_cls_token is 1, expected true or false"},
      {"pooling is a list", [](Folder& f) { f.pooling = json::array(); }, bad, "expected a JSON object"},
      {"a layer behind", [](Folder& f) { f.modules.push_back(module("Dense", "3_Dense")); }, unsupported,
       "module sentence_transformers.models.Dense"},
      {"modules are an object", [](Folder& f) { f.modules = json::object(); }, bad, "expected a list of modules"},
      {"a module is a text", [](Folder& f) { f.modules[0] = "Transformer"; }, bad, "expected a JSON object"},
      {"a path out of the folder", [](Folder& f) { f.modules[1]["path"] = "../1_Pooling"; }, bad,
       "\"../1_Pooling\" leads out of the folder"},
      {"a path from the root", [](Folder& f) { f.modules[1]["path"] = "/etc"; }, bad,
       "\"/etc\" leads out of the folder"},
      {"no such folder", [](Folder& f) { f.modules[1]["path"] = "4_Pooling"; }, bad, "4_Pooling/config.json"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    Folder folder;
    one.damage(folder);
    try {
      folder.read();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), one.code);
      EXPECT_THAT(error.what(), HasSubstr(one.message));
    }
  }
}

}  // namespace
}  // namespace pare
