// Small tokenizers whose tokens can be told by hand. Equality with PyPI tokenizers on large samples is checked by
// tests/oracles/compare_tokenizers.py.

#include "pare/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "pare/base/error.h"

namespace pare {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

// Characters as pieces, in the order given, and no merges: tokens show what the steps before BPE made of the text.
Json characters(const std::vector<std::string>& pieces) {
  Json json = {{"version", "1.0"},         {"added_tokens", Json::array()}, {"normalizer", nullptr},
               {"pre_tokenizer", nullptr}, {"post_processor", nullptr},     {"decoder", nullptr}};
  json["model"] = {{"type", "BPE"}, {"vocab", Json::object()}, {"merges", Json::array()}};
  for (size_t i = 0; i < pieces.size(); i++) json["model"]["vocab"][pieces[i]] = i;
  return json;
}

Json added(int id, const std::string& content, Json flags = Json::object()) {
  Json token = {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", false}};
  token.update(flags);
  return token;
}

// Byte-level with every byte, then "he" and "hel" and "Ġhe".
Json byte_level() {
  const char* lead[] = {"\xC4", "\xC5"};
  Json json = characters({});
  int id = 0;
  for (int code = 0x21; code < 0x100; code++) {
    if (code == 0x7F || (code > 0x7F && code < 0xA1) || code == 0xAD) continue;
    std::string text;
    if (code >= 0x80) text += static_cast<char>(0xC0 | code >> 6);
    text += static_cast<char>(code >= 0x80 ? 0x80 | (code & 0x3F) : code);
    json["model"]["vocab"][text] = id++;
  }
  for (int code = 0x100; code < 0x144; code++) {
    json["model"]["vocab"][lead[code >= 0x140] + std::string(1, static_cast<char>(0x80 | (code & 0x3F)))] = id++;
  }
  for (const char* piece : {"he", "hel", "\u0120he"}) json["model"]["vocab"][piece] = id++;
  json["model"]["merges"] = {"h e", "he l", "\u0120 he"};
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  json["decoder"] = json["pre_tokenizer"];
  json["added_tokens"] = {added(259, "<|end|>", {{"special", true}})};
  return json;
}

Tokenizer make(const Json& json) {
  return Tokenizer::from_json(json.dump(), "tokenizer.json");
}

std::vector<std::string> tokens(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::string> result;
  for (int32_t id : tokenizer.encode(text)) result.push_back(tokenizer.token(id));
  return result;
}

TEST(Tokenizer, ByteLevelBpeAndBack) {
  const Tokenizer tokenizer = make(byte_level());
  EXPECT_EQ(tokenizer.vocab_size(), 260);
  EXPECT_THAT(tokens(tokenizer, "hel he<|end|>h"), ElementsAre("hel", "\u0120he", "<|end|>", "h"));
  std::string text = "he said: \u00e9t\u00e9 \U0001F600\n\t \x01\x7f";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a<|end|>b")), "ab");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a<|end|>b"), false), "a<|end|>b");
  EXPECT_TRUE(tokenizer.is_special(259));
  EXPECT_FALSE(tokenizer.is_special(0));
  EXPECT_EQ(tokenizer.id("hel"), 257);
  EXPECT_EQ(tokenizer.id("held"), std::nullopt);
}

TEST(Tokenizer, InvalidUtf8IsReplacedAndNothingIsLost) {
  const Tokenizer tokenizer = make(byte_level());
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a\xFFz\xE2\x96")), "a\uFFFDz\uFFFD");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(std::string("a\0b", 3))), std::string("a\0b", 3));
  EXPECT_TRUE(tokenizer.encode("").empty());
}

TEST(Tokenizer, IdsOutOfRangeAreNamed) {
  const Tokenizer tokenizer = make(byte_level());
  for (int32_t id : {-1, 260, 1 << 30}) {
    try {
      tokenizer.decode(std::vector<int32_t>{id});
      ADD_FAILURE() << id;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("token id " + std::to_string(id) + "; this tokenizer has ids 0 to 259"));
    }
  }
}

TEST(Tokenizer, AddedTokensTakeTheLongestAndTheirWhiteSpace) {
  Json json = characters({"a", "b", " ", "\n"});
  json["added_tokens"] = {added(4, "<x>"), added(5, "<x><y>"), added(6, "<l>", {{"lstrip", true}}),
                          added(7, "<r>", {{"rstrip", true}}), added(8, "word", {{"single_word", true}})};
  const Tokenizer tokenizer = make(json);
  EXPECT_THAT(tokenizer.encode("a<x><y><x>"), ElementsAre(0, 5, 4));
  EXPECT_THAT(tokenizer.encode("a \n<l> b"), ElementsAre(0, 6, 2, 1));
  EXPECT_THAT(tokenizer.encode("a <r> \nb"), ElementsAre(0, 2, 7, 1));
  EXPECT_THAT(tokenizer.encode("word awordb a word"), ElementsAre(8, 2, 0, 1, 2, 0, 2, 8));
}

TEST(Tokenizer, NormalizedAddedTokensAreFoundInNormalizedText) {
  Json json = characters({"a", "b"});
  json["normalizer"] = {{"type", "Lowercase"}};
  json["added_tokens"] = {added(2, "Ab", {{"normalized", true}}), added(3, "BB", {{"normalized", false}})};
  const Tokenizer tokenizer = make(json);
  EXPECT_THAT(tokenizer.encode("aBAb"), ElementsAre(2, 2));
  EXPECT_THAT(tokenizer.encode("BBbb"), ElementsAre(3, 1, 1));
}

TEST(Tokenizer, SplitsInAllFiveWays) {
  // The piece of the whole word exists where the behavior makes that word: ignore_merges takes it
  const std::pair<const char*, std::vector<std::string>> cases[] = {
      {"Removed", {"a", "b", "c"}},
      {"Isolated", {"a", "-", "b", "-", "-", "c"}},
      {"MergedWithPrevious", {"a-", "b-", "-", "c"}},
      {"MergedWithNext", {"a", "-b", "-", "-c"}},
      {"Contiguous", {"a", "-", "b", "--", "c"}},
  };
  for (const auto& [behavior, expected] : cases) {
    Json json = characters({"a", "b", "c", "-", "a-", "b-", "-b", "-c", "--"});
    json["model"]["ignore_merges"] = true;
    json["pre_tokenizer"] = {
        {"type", "Split"}, {"pattern", {{"String", "-"}}}, {"behavior", behavior}, {"invert", false}};
    EXPECT_EQ(tokens(make(json), "a-b--c"), expected) << behavior;
    json["pre_tokenizer"]["pattern"] = {{"Regex", "[^-]+"}};
    json["pre_tokenizer"]["invert"] = true;
    if (std::string(behavior) == "Removed") {
      EXPECT_EQ(tokens(make(json), "a-b--c"), expected);
    }
  }
}

Json sentencepiece() {
  Json json = characters({"<unk>", "<s>", "</s>"});
  Json& vocab = json["model"]["vocab"];
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; byte++) {
    vocab[std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">"] = 3 + byte;
  }
  int id = 259;
  for (const char* piece : {"\u2581a", "ab", "\u2581ab", "\u2581", "a", "b"}) vocab[piece] = id++;
  json["model"]["merges"] = Json::parse(R"([["\u2581", "a"], ["a", "b"], ["\u2581a", "b"], ["\u2581", "ab"]])");
  json["model"]["byte_fallback"] = json["model"]["fuse_unk"] = true;
  json["model"]["unk_token"] = "<unk>";
  json["normalizer"] = {{"type", "Sequence"},
                        {"normalizers",
                         {{{"type", "Prepend"}, {"prepend", "\u2581"}},
                          {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}}}};
  json["decoder"] = {{"type", "Sequence"},
                     {"decoders",
                      {{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
                       {{"type", "ByteFallback"}},
                       {{"type", "Fuse"}},
                       {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
  for (int i = 0; i < 3; i++) {
    const char* names[] = {"<unk>", "<s>", "</s>"};
    json["added_tokens"].push_back(added(i, names[i], {{"special", true}}));
  }
  Json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
       bos = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  json["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single", {bos, sequence}},
                            {"pair", {bos, sequence}},
                            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}};
  return json;
}

TEST(Tokenizer, SentencePieceStyleBpeAndBack) {
  const Tokenizer tokenizer = make(sentencepiece());
  EXPECT_THAT(tokens(tokenizer, "ab abb</s>a"), ElementsAre("<s>", "\u2581ab", "\u2581ab", "b", "</s>", "\u2581a"));
  EXPECT_THAT(tokens(tokenizer, "a\u00e9"), ElementsAre("<s>", "\u2581a", "<0xC3>", "<0xA9>"));
  EXPECT_EQ(tokenizer.encode("a", false).size(), 1u);
  for (const std::string text : {"ab abb", "\u00e9  a\n", " a", "\U0001F600"}) {
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
}

TEST(Tokenizer, BytesOfTokensAreThoseOfTheText) {
  const auto joined = [](const Tokenizer& tokenizer, std::string_view text) {
    std::string bytes;
    for (int32_t id : tokenizer.encode(text, false)) bytes += tokenizer.token_bytes(id);
    return bytes;
  };
  const Tokenizer byte_level_bpe = make(byte_level());
  std::string text = "hel he <|end|>h\u00e9 \U0001F600\n\x01";
  EXPECT_EQ(joined(byte_level_bpe, text), text);
  EXPECT_EQ(byte_level_bpe.token_bytes(*byte_level_bpe.id("\u00c3")), "\xC3");  // a cut character
  const Tokenizer sentencepiece_bpe = make(sentencepiece());
  for (const std::string with : {"ab abb", "\u00e9  a\n", "a<0x41>", "\U0001F600"}) {
    EXPECT_EQ(joined(sentencepiece_bpe, with), " " + with);  // the blank in front is of the beginning of a text
  }
  EXPECT_EQ(sentencepiece_bpe.token_bytes(3 + 0xC3), "\xC3");
  EXPECT_EQ(sentencepiece_bpe.token_bytes(1), "<s>");
  EXPECT_THROW(sentencepiece_bpe.token_bytes(1000), InputError);
  EXPECT_EQ(make(characters({"a"})).token_bytes(0), " a");  // no decoder: pieces with blanks between them
}

TEST(Tokenizer, ManyThreadsGiveTheSameIds) {
  const Tokenizer tokenizer = make(byte_level());
  std::string text;
  for (int i = 0; i < 2000; i++) text += "hel he " + std::to_string(i);
  const auto expected = tokenizer.encode(text);
  std::vector<std::vector<int32_t>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&] { result = tokenizer.encode(text); });
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

class ModelFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("pare-tokenizer-test-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const char* name, const std::string& text) { std::ofstream(folder_ / name, std::ios::binary) << text; }
  Tokenizer through_gguf(const Tokenizer& tokenizer) {
    GgufMetadata metadata = tokenizer.to_gguf();
    metadata.insert(metadata.begin(), {"general.architecture", std::string("llama")});
    GgufWriter writer(folder_ / "model.gguf", metadata, {});
    writer.finish();
    return Tokenizer::open(folder_ / "model.gguf");
  }
  std::filesystem::path folder_;
};

TEST_F(ModelFolder, NamesComeFromItsConfig) {
  write("tokenizer.json", sentencepiece().dump());
  EXPECT_EQ(Tokenizer::open(folder_).bos(), std::nullopt);
  write("special_tokens_map.json", R"({"bos_token": "</s>", "eos_token": {"content": "</s>", "lstrip": false}})");
  write("tokenizer_config.json", R"({"bos_token": {"content": "<s>"}, "pad_token": null, "chat_template": "{{x}}"})");
  const Tokenizer tokenizer = Tokenizer::open(folder_);
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  EXPECT_EQ(tokenizer.chat_template(), "{{x}}");
  EXPECT_EQ(tokenizer.to_json(), sentencepiece().dump());
  EXPECT_THAT(tokenizer.config_json(), HasSubstr("\"bos_token\": \"<s>\""));
  write("chat_template.jinja", "{{y}}");
  EXPECT_EQ(Tokenizer::open(folder_).chat_template(), "{{y}}");
  write("chat_template.jinja", "{{z}}\x92");  // not UTF-8, which no config could hold
  EXPECT_EQ(Tokenizer::open(folder_).chat_template(), "{{z}}\uFFFD");
  EXPECT_THAT(Tokenizer::open(folder_).config_json(), HasSubstr("{{z}}"));
}

TEST_F(ModelFolder, WithoutATokenizerSaysWhatToDo) {
  try {
    Tokenizer::open(folder_);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("tokenizer.json: is missing"));
  }
  write("tokenizer.model", "x");
  try {
    Tokenizer::open(folder_);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("save_pretrained"));
  }
}

TEST_F(ModelFolder, GgufGivesTheSameIdsAndTheSameJson) {
  write("tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{x}}"})");
  const std::string texts[] = {"hel he<|end|>h", "ab abb</s>a \u00e9", " 123 I've\n\n", "a<s>b"};
  for (Json json : {byte_level(), sentencepiece()}) {
    write("tokenizer.json", json.dump());
    const Tokenizer tokenizer = Tokenizer::open(folder_), other = through_gguf(tokenizer);
    const Tokenizer again = Tokenizer::from_json(other.to_json(), "again");
    for (const std::string& text : texts) {
      EXPECT_EQ(other.encode(text), tokenizer.encode(text)) << text;
      EXPECT_EQ(again.encode(text), tokenizer.encode(text)) << text;
      EXPECT_EQ(other.decode(other.encode(text), false), tokenizer.decode(tokenizer.encode(text), false)) << text;
    }
    EXPECT_EQ(other.bos(), tokenizer.bos());
    EXPECT_EQ(other.eos(), tokenizer.eos());
    EXPECT_EQ(other.chat_template(), "{{x}}");
    EXPECT_EQ(other.vocab_size(), tokenizer.vocab_size());
  }
}

TEST_F(ModelFolder, GgufHasANameForTheFamiliesPatterns) {
  const auto split = [](const char* pattern) {
    return Json{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  };
  const Json bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  Json own = bytes;
  own["use_regex"] = true;
  const auto sequence = [](Json first, Json second) {
    return Json{{"type", "Sequence"}, {"pretokenizers", {first, second}}};
  };
  struct Case {
    const char* name;
    Json pre, normalizer;
    bool ignore_merges;
  };
  const Case cases[] = {
      {"gpt-2", own, nullptr, false},
      {"smollm", sequence({{"type", "Digits"}, {"individual_digits", true}}, own), nullptr, false},
      {"llama-bpe",
       sequence(
           split(
               R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
           bytes),
       nullptr, true},
      {"qwen2",
       sequence(
           split(
               R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
           bytes),
       {{"type", "NFC"}},
       false},
  };
  for (const Case& c : cases) {
    Json json = byte_level();
    json["pre_tokenizer"] = c.pre;
    json["normalizer"] = c.normalizer;
    json["model"]["ignore_merges"] = c.ignore_merges;
    if (std::string(c.name) == "qwen2") {  // as older exports say the same
      json["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed";
      json["pre_tokenizer"]["pretokenizers"][0]["invert"] = true;
    }
    const Tokenizer tokenizer = make(json);
    for (const auto& [key, value] : tokenizer.to_gguf()) {
      if (key == "tokenizer.ggml.pre") {
        EXPECT_EQ(std::get<std::string>(value), c.name);
      }
    }
    const std::string text = "hel 12345 I'VE e\u0301\u00e9\r\n  x";
    EXPECT_EQ(through_gguf(tokenizer).encode(text), tokenizer.encode(text)) << c.name;
  }
}

TEST_F(ModelFolder, WhatGgufCannotSayIsRefused) {
  const auto refused = [&](const Json& json) {
    try {
      make(json).to_gguf();
    } catch (const UnsupportedError& error) {
      return std::string(error.what());
    }
    return std::string("taken");
  };
  Json json = byte_level();
  json["pre_tokenizer"] = {{"type", "Whitespace"}};
  EXPECT_THAT(refused(json), HasSubstr("cutting the text"));
  json = byte_level();
  json["added_tokens"][0]["lstrip"] = true;
  EXPECT_THAT(refused(json), HasSubstr("lstrip"));
  json = sentencepiece();
  json["model"]["merges"].erase(3);
  EXPECT_THAT(refused(json), HasSubstr("post_processor"));  // the names of BOS and EOS are not known here
  json["post_processor"] = nullptr;
  EXPECT_THAT(refused(json), HasSubstr("merges"));
}

}  // namespace
}  // namespace pare
