// Named ways in which a tokenizer can be wrong, each with the error that it must give.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/text/tokenizer.h"

namespace pare {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

Json good() {
  return Json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                      "normalized": false, "special": true}],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": false},
    "post_processor": {"type": "TemplateProcessing",
                       "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                       "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}},
    "decoder": {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false, "byte_fallback": false,
              "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}})");
}

// The error of `text`: its exit code and message.
std::pair<Exit, std::string> error_of(const std::string& text, const std::string& encode = "ab") {
  try {
    const Tokenizer tokenizer = Tokenizer::from_json(text, "tokenizer.json");
    tokenizer.encode(encode);
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {Exit::ok, ""};
}

struct Case {
  const char* name;
  std::function<void(Json&)> damage;
  Exit code;
  const char* message;
};

TEST(MalformedTokenizer, GoodOneIsTaken) {
  EXPECT_EQ(error_of(good().dump()).second, "");
}

TEST(MalformedTokenizer, EachWayHasItsError) {
  const Exit bad = Exit::bad_input, unsupported = Exit::unsupported;
  const Case cases[] = {
      {"no model", [](Json& j) { j.erase("model"); }, bad, "tokenizer.json: \"model\" is missing"},
      {"model is a list", [](Json& j) { j["model"] = Json::array(); }, bad, "model: expected an object"},
      {"Unigram", [](Json& j) { j["model"]["type"] = "Unigram"; }, unsupported, "\"Unigram\" is not supported"},
      {"WordLevel", [](Json& j) { j["model"]["type"] = "WordLevel"; }, unsupported, "\"WordLevel\" is not supported"},
      {"type is a number", [](Json& j) { j["model"]["type"] = 3; }, bad, "\"type\": expected a text, found 3"},
      {"unknown model key", [](Json& j) { j["model"]["magic"] = 1; }, unsupported, "\"magic\" is not known"},
      {"unknown root key", [](Json& j) { j["extra"] = 1; }, unsupported, "\"extra\" is not known"},
      {"version", [](Json& j) { j["version"] = "2.0"; }, unsupported, "version \"2.0\""},
      {"dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, unsupported, "dropout"},
      {"subword prefix", [](Json& j) { j["model"]["continuing_subword_prefix"] = "##"; }, unsupported, "\"##\""},
      {"word suffix", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, unsupported, "\"</w>\""},
      {"no vocab", [](Json& j) { j["model"].erase("vocab"); }, bad, "vocab: expected"},
      {"no merges", [](Json& j) { j["model"].erase("merges"); }, bad, "merges: expected a list"},
      {"vocab is a list", [](Json& j) { j["model"]["vocab"] = Json::array({1}); }, bad, "vocab: expected"},
      {"negative id", [](Json& j) { j["model"]["vocab"]["a"] = -1; }, bad, "piece \"a\" has id -1"},
      {"huge id", [](Json& j) { j["model"]["vocab"]["a"] = 4'194'304; }, bad, "piece \"a\" has id 4194304"},
      {"id of 64 bits", [](Json& j) { j["model"]["vocab"]["a"] = UINT64_MAX; }, bad, "piece \"a\" has id"},
      {"id twice", [](Json& j) { j["model"]["vocab"]["a"] = 1; }, bad, "id 1 is given twice, to \"a\" and to \"b\""},
      {"id is a text", [](Json& j) { j["model"]["vocab"]["a"] = "0"; }, bad,
       "piece \"a\": expected an id, found \"0\""},
      {"id is a fraction", [](Json& j) { j["model"]["vocab"]["a"] = 0.5; }, bad,
       "piece \"a\": expected an id, found 0.5"},
      {"id is an object", [](Json& j) { j["model"]["vocab"]["a"] = Json::object(); }, bad,
       "expected an id, found an object"},
      {"merge of no piece", [](Json& j) { j["model"]["merges"][0][1] = "x"; }, bad,
       "merge 0, \"a\" + \"x\": \"x\" is not in the vocabulary"},
      {"merge to no piece", [](Json& j) { std::swap(j["model"]["merges"][0][0], j["model"]["merges"][0][1]); }, bad,
       "\"ba\" is not in the vocabulary"},
      {"merge without a space", [](Json& j) { j["model"]["merges"] = {"ab"}; }, bad, "merges[0]: expected two pieces"},
      {"merge with two spaces", [](Json& j) { j["model"]["merges"] = {"a  b"}; }, bad,
       "merges[0]: expected two pieces"},
      {"merge of three",
       [](Json& j) {
         j["model"]["merges"] = {{"a", "b", "a"}};
       },
       bad, "expected two pieces, found 3"},
      {"merge is a number", [](Json& j) { j["model"]["merges"] = {1}; }, bad,
       "merges[0]: expected two pieces, found 1"},
      {"merge of lists",
       [](Json& j) {
         j["model"]["merges"] = {{Json::array(), "b"}};
       },
       bad, "found a list"},
      {"unk that is no piece", [](Json& j) { j["model"]["unk_token"] = "[UNK]"; }, bad, "unk_token \"[UNK]\""},
      {"flag is a text", [](Json& j) { j["model"]["byte_fallback"] = "yes"; }, bad,
       "expected true or false, found \"yes\""},
      {"added token without id", [](Json& j) { j["added_tokens"][0].erase("id"); }, bad,
       "added_tokens[0]: \"<s>\": expected an id"},
      {"added token of negative id", [](Json& j) { j["added_tokens"][0]["id"] = -5; }, bad, "\"<s>\" has id -5"},
      {"added token of huge id", [](Json& j) { j["added_tokens"][0]["id"] = UINT64_MAX; }, bad, "\"<s>\" has id"},
      {"added token twice", [](Json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); }, bad,
       "\"<s>\" appears twice"},
      {"added token with more", [](Json& j) { j["added_tokens"][0]["color"] = 1; }, unsupported,
       "\"color\" is not known"},
      {"added tokens are an object",
       [](Json& j) {
         j["added_tokens"] = {{"a", 1}};
       },
       bad, "added_tokens: expected a list"},
      {"added token normalized away",
       [](Json& j) {
         j["normalizer"] = {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}};
         j["added_tokens"][0]["content"] = "  ";
         j["added_tokens"][0]["normalized"] = true;
       },
       bad, "nothing is left of it"},
      {"two added tokens of one spelling",
       [](Json& j) {
         j["normalizer"] = {{"type", "Lowercase"}};
         j["added_tokens"][0]["normalized"] = true;
         j["added_tokens"].push_back(j["added_tokens"][0]);
         j["added_tokens"][1]["content"] = "<S>";
         j["added_tokens"][1]["id"] = 4;
       },
       bad, "two added tokens are spelt \"<s>\""},
      {"normalizer unknown",
       [](Json& j) {
         j["normalizer"] = {{"type", "Precompiled"}};
       },
       unsupported, "normalizer: type \"Precompiled\" is not supported"},
      {"normalizer without type", [](Json& j) { j["normalizer"] = Json::object(); }, bad,
       "normalizer: \"type\" is missing"},
      {"normalizer is a text", [](Json& j) { j["normalizer"] = "NFC"; }, bad, "normalizer: expected an object"},
      {"sequence of one unknown",
       [](Json& j) {
         j["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "Nmt"}}}}};
       },
       unsupported, "normalizers[1]: type \"Nmt\""},
      {"sequence that is no list",
       [](Json& j) {
         j["normalizer"] = {{"type", "Sequence"}, {"normalizers", 1}};
       },
       bad, "normalizers: expected a list"},
      {"pre-tokenizer unknown",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
       },
       unsupported, "\"UnicodeScripts\""},
      {"behavior unknown", [](Json& j) { j["pre_tokenizer"]["behavior"] = "Doubled"; }, unsupported, "\"Doubled\""},
      {"pattern broken", [](Json& j) { j["pre_tokenizer"]["pattern"]["Regex"] = "(a"; }, bad, "is not valid at byte"},
      {"pattern foreign", [](Json& j) { j["pre_tokenizer"]["pattern"]["Regex"] = "[a&&b]"; }, unsupported,
       "&& in a class"},
      {"pattern empty",
       [](Json& j) {
         j["pre_tokenizer"]["pattern"] = {{"String", ""}};
       },
       unsupported, "an empty pattern"},
      {"pattern of another kind",
       [](Json& j) {
         j["pre_tokenizer"]["pattern"] = {{"Glob", "*"}};
       },
       bad, "expected {\"String\""},
      {"pattern that explodes", [](Json& j) { j["pre_tokenizer"]["pattern"]["Regex"] = "(?:[ab]+)+$"; }, bad,
       "too many steps"},
      {"replacement of two characters",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "ab"}};
       },
       bad, "expected one character"},
      {"prepend scheme unknown",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}};
       },
       unsupported, "\"last\""},
      {"decoder unknown",
       [](Json& j) {
         j["decoder"] = {{"type", "CTC"}};
       },
       unsupported, "decoder: type \"CTC\""},
      {"strip of a word", [](Json& j) { j["decoder"]["content"] = "ab"; }, bad, "content: expected one character"},
      {"strip of a negative count", [](Json& j) { j["decoder"]["start"] = -1; }, bad, "start: expected an integer"},
      {"post-processor unknown",
       [](Json& j) {
         j["post_processor"] = {{"type", "Magic"}};
       },
       unsupported, "\"Magic\""},
      {"template without its token", [](Json& j) { j["post_processor"]["special_tokens"] = Json::object(); }, bad,
       "special_tokens: \"<s>\" is missing"},
      {"template of a huge id", [](Json& j) { j["post_processor"]["special_tokens"]["<s>"]["ids"] = {1e9}; }, bad,
       "ids[0]: expected an integer"},
      {"template of sequence B", [](Json& j) { j["post_processor"]["single"][1]["Sequence"]["id"] = "B"; }, bad,
       "found \"B\""},
      {"template without the text", [](Json& j) { j["post_processor"]["single"].erase(1); }, unsupported,
       "the text does not stand in it"},
  };
  for (const Case& c : cases) {
    Json json = good();
    c.damage(json);
    const auto [code, message] = error_of(json.dump(), std::string(40, 'a') + "bx");
    EXPECT_EQ(code, c.code) << c.name << ": " << message;
    EXPECT_THAT(message, HasSubstr(c.message)) << c.name;
    EXPECT_THAT(message, HasSubstr("tokenizer.json")) << c.name;
  }
}

TEST(MalformedTokenizer, TextThatIsNoJson) {
  const std::string text = good().dump();
  EXPECT_EQ(error_of("").first, Exit::bad_input);
  EXPECT_EQ(error_of("[]").first, Exit::bad_input);
  EXPECT_EQ(error_of("null").first, Exit::bad_input);
  for (size_t size = 0; size < text.size(); size++) {
    ASSERT_EQ(error_of(text.substr(0, size)).first, Exit::bad_input) << "cut at " << size;
  }
  EXPECT_THAT(error_of(text + "x").second, HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(std::string(10'000'000, '[')).second, HasSubstr("nested more than 64 deep"));
  std::string deep = "null";
  for (int i = 0; i < 70; i++) deep = R"({"type":"Sequence","normalizers":[)" + deep + "]}";
  EXPECT_THAT(error_of(R"({"normalizer":)" + deep + "}").second, HasSubstr("nested more than 64 deep"));
  EXPECT_THAT(error_of(R"({"version":"1.0","version":"1.0"})").second, HasSubstr("\"version\" appears twice"));
  EXPECT_THAT(error_of(R"({"model":{"vocab":{"a":0,"a":1},"merges":[]}})").second, HasSubstr("\"a\" appears twice"));
  EXPECT_THAT(error_of("{\"model\":{\"vocab\":{\"\xFF\":0}}}").second, HasSubstr("not valid JSON"));
}

TEST(MalformedTokenizer, BytePiecesThatAreNoBytesAreJustPieces) {
  Json json = good();
  for (const char* piece : {"<0x-1>", "<0x+1>", "<0xGG>", "<0x100>", "<0x>", "<0x 1>"}) {
    json["model"]["vocab"][piece] = json["model"]["vocab"].size() + 10;
  }
  json["added_tokens"] = Json::array();
  json["post_processor"] = nullptr;
  json["model"]["byte_fallback"] = true;
  json["decoder"] = {{"type", "ByteFallback"}};
  const Tokenizer tokenizer = Tokenizer::from_json(json.dump(), "tokenizer.json");
  for (const char* piece : {"<0x-1>", "<0x+1>", "<0xGG>", "<0x100>", "<0x>", "<0x 1>"}) {
    EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{*tokenizer.id(piece)}), piece);
  }
  EXPECT_TRUE(tokenizer.encode("\xC3\xA9").empty());
}

struct GgufCase {
  const char* name;
  std::function<void(GgufMetadata&)> damage;
  Exit code;
  const char* message;
};

GgufValue texts(std::vector<std::string> items) {
  return GgufArray{std::move(items)};
}
GgufValue floats(std::vector<double> items) {
  return GgufArray{std::move(items)};
}
GgufValue integers(std::vector<int64_t> items) {
  return GgufArray{std::move(items)};
}

void set(GgufMetadata& metadata, const std::string& key, GgufValue value) {
  for (auto& [name, old] : metadata) {
    if (name == "tokenizer.ggml." + key) {
      old = std::move(value);
      return;
    }
  }
  metadata.emplace_back("tokenizer.ggml." + key, std::move(value));
}
void drop(GgufMetadata& metadata, const std::string& key) {
  std::erase_if(metadata, [&](const auto& entry) { return entry.first == "tokenizer.ggml." + key; });
}

TEST(MalformedTokenizer, EachWayInGgufHasItsError) {
  const Exit bad = Exit::bad_input, unsupported = Exit::unsupported;
  const GgufCase cases[] = {
      {"none", [](GgufMetadata&) {}, Exit::ok, ""},
      {"model unknown", [](auto& m) { set(m, "model", std::string("t5")); }, unsupported, "\"t5\" is not supported"},
      {"model missing", [](auto& m) { drop(m, "model"); }, bad, "tokenizer.ggml.model"},
      {"pre unknown",
       [](auto& m) {
         set(m, "model", std::string("gpt2"));
         set(m, "merges", texts({"a b"}));
         set(m, "pre", std::string("bloom"));
       },
       unsupported, "tokenizer.ggml.pre is \"bloom\""},
      {"merges missing",
       [](auto& m) {
         set(m, "model", std::string("gpt2"));
         set(m, "pre", std::string("gpt-2"));
       },
       bad, "tokenizer.ggml.merges"},
      {"merge of one",
       [](auto& m) {
         set(m, "model", std::string("gpt2"));
         set(m, "pre", std::string("gpt-2"));
         set(m, "merges", texts({"ab"}));
       },
       bad, "merge 0: expected two pieces"},
      {"tokens missing", [](auto& m) { drop(m, "tokens"); }, bad, "tokenizer.ggml.tokens"},
      {"tokens are numbers",
       [](auto& m) {
         set(m, "tokens", floats({1, 2}));
       },
       bad, "tokenizer.ggml.tokens"},
      {"token twice",
       [](auto& m) {
         set(m, "tokens", texts({"<unk>", "<s>", "a", "a", "ab"}));
       },
       bad, "\"a\" appears twice"},
      {"token not UTF-8",
       [](auto& m) {
         set(m, "tokens", texts({"<unk>", "<s>", "a", "\xFF", "ab"}));
       },
       bad, "token 3 is not UTF-8"},
      {"scores too few",
       [](auto& m) {
         set(m, "scores", floats({0, 0}));
       },
       bad, "2 scores for 5 tokens"},
      {"scores missing", [](auto& m) { drop(m, "scores"); }, bad, "0 scores for 5 tokens"},
      {"score NaN",
       [](auto& m) {
         set(m, "scores", floats({0, 0, 0, NAN, 0}));
       },
       bad, "the score of token 3 is NaN"},
      {"scores are texts", [](auto& m) { set(m, "scores", texts({"0"})); }, bad, "expected a list of numbers"},
      {"types too few", [](auto& m) { set(m, "token_type", integers({1})); }, bad, "1 types for 5 tokens"},
      {"type unknown",
       [](auto& m) {
         set(m, "token_type", integers({1, 1, 1, 1, 9}));
       },
       bad, "token 4 has type 9"},
      {"bos beyond", [](auto& m) { set(m, "bos_token_id", uint64_t{5}); }, bad, "id 5, but there are 5 tokens"},
      {"add_bos is a number", [](auto& m) { set(m, "add_bos_token", uint64_t{1}); }, bad, "expected true or false"},
  };
  const auto path = std::filesystem::temp_directory_path() / ("pare-malformed-" + std::to_string(getpid()) + ".gguf");
  for (const GgufCase& c : cases) {
    GgufMetadata metadata = {{"general.architecture", std::string("llama")}};
    set(metadata, "model", std::string("llama"));
    set(metadata, "tokens", texts({"<unk>", "<s>", "a", "b", "ab"}));
    set(metadata, "scores", floats({0, 0, -2, -3, -1}));
    set(metadata, "token_type", integers({2, 3, 1, 1, 1}));
    set(metadata, "bos_token_id", uint64_t{1});
    c.damage(metadata);
    {
      GgufWriter writer(path, metadata, {});
      writer.finish();
    }
    Exit code = Exit::ok;
    std::string message;
    try {
      Tokenizer::open(path).encode("ab");
    } catch (const Error& error) {
      code = error.code();
      message = error.what();
    }
    EXPECT_EQ(code, c.code) << c.name << ": " << message;
    EXPECT_THAT(message, HasSubstr(c.message)) << c.name;
    std::filesystem::remove(path);
  }
}

}  // namespace
}  // namespace pare
