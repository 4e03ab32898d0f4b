#include "pare/runtime/token_mask.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/base/random.h"
#include "pare/runtime/json_grammar.h"
#include "pare/runtime/schema_checker_for_tests.h"

namespace pare {
namespace {

// Each byte, pieces of JSON that cross its borders, cut characters, words, and holes; the last two end the text.
std::vector<std::string> test_vocabulary() {
  std::vector<std::string> bytes = {"", ""};
  for (int byte = 0; byte < 256; byte++) bytes.emplace_back(1, static_cast<char>(byte));
  for (const char* text : {"{\"",
                           "\": ",
                           "\":",
                           "\",\"",
                           "\", \"",
                           "\"}",
                           "\"]",
                           "\"}}",
                           "},{\"",
                           "}, {",
                           "[{\"",
                           "]}",
                           "]]",
                           "[[",
                           "[]",
                           "{}",
                           "}}",
                           "{\n",
                           "\n  ",
                           "\n    \"",
                           ",\n  \"",
                           "\n}",
                           "},\n",
                           ": ",
                           ", ",
                           "true",
                           "false",
                           "null",
                           "tr",
                           "ue,",
                           "null}",
                           "nul",
                           "12",
                           "0.",
                           "00",
                           "1e",
                           "e+",
                           "-1",
                           "123",
                           "999999",
                           "\\u",
                           "\\u00",
                           "\\uD8",
                           "\\n",
                           "\\\"",
                           "D83D",
                           "\\uD83D\\u",
                           "\\",
                           " the",
                           "a",
                           "the",
                           "name",
                           "name\"",
                           "na",
                           "kind",
                           "circle",
                           "\"circle\"",
                           "radius",
                           "\xC3\xA9",
                           "\xE2\x82",
                           "\x82\xAC",
                           "\xF0\x9F",
                           "\x98\x80",
                           "\xE2\x82\xAC\"",
                           "    ",
                           "                                ",
                           "the\", \"name",
                           "value\":",
                           "\"a\": 1, \"b",
                           "items",
                           "\"]}, \"",
                           "{\"name\": \"",
                           "aaaaaaaaaa",
                           "a\"",
                           "\"",
                           "{",
                           "}"}) {
    bytes.emplace_back(text);  // the last ones are there twice
  }
  return bytes;
}

const std::vector<int32_t> kEnds = {0, 1};

std::shared_ptr<const Grammar> grammar_of(const std::string& schema) {
  return schema.empty() ? Grammar::json_object() : Grammar::json_schema(parse_ordered_json(schema, "schema"));
}

// "" is json_object.
const std::vector<std::string> kSchemas = {
    "",
    "true",
    R"({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 5},
        "mood": {"enum": ["good", "bad", "good enough", null]}}, "required": ["name", "mood"], "additionalProperties": false})",
    R"({"$defs": {"shape": {"oneOf": [
          {"type": "object", "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}}, "required": ["kind", "radius"]},
          {"type": "object", "properties": {"kind": {"const": "group"}, "items": {"type": "array", "items": {"$ref": "#/$defs/shape"}}},
           "required": ["kind", "items"]}]}}, "type": "array", "items": {"$ref": "#/$defs/shape"}, "minItems": 1})",
    R"({"type": "object", "properties": {"a": {"type": "string", "minLength": 3, "maxLength": 5}, "na": true, "name": false},
        "additionalProperties": {"type": ["integer", "null"], "minimum": -20}})",
    R"({"anyOf": [{"type": "string", "minLength": 2}, {"type": "string", "maxLength": 1}, {"type": "number", "exclusiveMinimum": -3},
        {"prefixItems": [{"type": "integer"}, {"enum": [[1], {"a": 1}, "aa", "a"]}], "items": {"type": "boolean"}, "minItems": 2,
         "maxItems": 6}]})",
    R"({"type": "object", "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}, "value": {"type": "integer"}},
        "required": ["next", "value"]})",
};

void expect_as_by_force(const GrammarState& state, const VocabularyTrie& trie, const std::string& text) {
  std::vector<float> logits(trie.vocabulary() + 3, 0.5f);  // a model may have more than the tokenizer
  const size_t left = mask(state, trie, logits);
  size_t expected = 0;
  for (size_t id = 0; id < logits.size(); id++) {
    const std::string_view bytes = trie.bytes(static_cast<int32_t>(id));
    const bool may =
        trie.is_end(static_cast<int32_t>(id)) ? state.can_end() : !bytes.empty() && GrammarState(state).accept(bytes);
    EXPECT_EQ(logits[id], may ? 0.5f : -std::numeric_limits<float>::infinity())
        << "token " << id << " \"" << bytes << "\" behind " << text;
    expected += may;
  }
  EXPECT_EQ(left, expected);
}

// A text under the mask: any allowed token, and the longer the text, the rather one that closes.
std::string written(const std::shared_ptr<const Grammar>& grammar, const VocabularyTrie& trie, uint64_t seed,
                    bool by_force = false) {
  GrammarState state(grammar);
  const CounterRandom random(seed, "generation");
  std::string text;
  std::vector<float> logits(trie.vocabulary());
  for (uint64_t step = 0; !state.must_end(); step++) {
    for (size_t id = 0; id < logits.size(); id++) {
      logits[id] = static_cast<float>(random.uniform(step * logits.size() + id));
      const std::string_view bytes = trie.bytes(static_cast<int32_t>(id));
      double closes = 0;
      for (char c : bytes)
        closes += c == '"' ? 3 : c == '}' || c == ']' ? 1 : c == '{' || c == '[' || c == ',' ? -2 : 0;
      logits[id] += static_cast<float>(0.02 * closes * static_cast<double>(step));
    }
    if (by_force && step % 8 == seed % 8) expect_as_by_force(state, trie, text);
    EXPECT_GT(mask(state, trie, logits), 0u) << text;
    const auto id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    if (trie.is_end(id)) break;
    if (!state.accept(trie.bytes(id)) || step > 3000) {
      ADD_FAILURE() << "behind " << text;
      break;
    }
    text += trie.bytes(id);
  }
  EXPECT_TRUE(state.can_end()) << text;
  return text;
}

TEST(TokenMask, WhatIsWrittenUnderItParsesAndSatisfiesTheSchema) {
  const VocabularyTrie trie(test_vocabulary(), kEnds);
  for (const std::string& schema : kSchemas) {
    SCOPED_TRACE(schema);
    const auto grammar = grammar_of(schema);
    const SchemaChecker checker(schema.empty() ? nlohmann::ordered_json{{"type", "object"}}
                                               : parse_ordered_json(schema, "schema"));
    for (uint64_t seed = 0; seed < 300; seed++) {
      const std::string text = written(grammar, trie, seed);
      SCOPED_TRACE("seed " + std::to_string(seed) + ": " + text);
      nlohmann::ordered_json value;
      // Names that the schema does not have may come twice
      ASSERT_NO_THROW(value = parse_ordered_json(text, "text", {.allow_duplicate_keys = true}));
      EXPECT_TRUE(checker.satisfies(value));
    }
  }
}

TEST(TokenMask, IsWhatTryingEveryTokenGives) {
  const VocabularyTrie trie(test_vocabulary(), kEnds);
  for (const std::string& schema : kSchemas) {
    SCOPED_TRACE(schema);
    const auto grammar = grammar_of(schema);
    for (uint64_t seed = 0; seed < 60; seed++) written(grammar, trie, seed, true);
    expect_as_by_force(GrammarState(grammar), trie, "");
  }
}

TEST(TokenMask, IsRightNearTheGreatestDepth) {
  const VocabularyTrie trie(test_vocabulary(), kEnds);
  for (const std::string& schema : {std::string("true"), kSchemas[6]}) {
    GrammarState state(grammar_of(schema));
    std::string text;
    const std::string more = schema == "true" ? "[" : "{\"next\":";
    while (GrammarState(state).accept(more)) {
      ASSERT_TRUE(state.accept(more));
      text += more;
      if (text.size() > 56 * more.size()) expect_as_by_force(state, trie, text);
    }
    EXPECT_EQ(text.size(), kDeepest * more.size());
  }
}

TEST(TokenMask, KeptWalksServeOtherStacks) {
  // More tokens, so that walks are kept; the same string ends in an array, in an object, at the end of the text
  std::vector<std::string> bytes = test_vocabulary();
  for (int i = 0; i < 3000; i++) bytes.push_back("w" + std::to_string(i) + (i % 7 ? "" : i % 3 ? "\"" : "\"]"));
  const VocabularyTrie trie(bytes, kEnds);
  const auto grammar = grammar_of("true");
  for (const char* text : {"\"", "[\"", "{\"a\":\"", "{\"", "[[1, \"x", "[{\"a\":{\"b\":\"x\xE2", "\"\\u00"}) {
    for (int again = 0; again < 2; again++) {
      GrammarState state(grammar);
      ASSERT_TRUE(state.accept(text));
      expect_as_by_force(state, trie, text);
    }
  }
  // and another vocabulary has its own
  const VocabularyTrie other(test_vocabulary(), kEnds);
  GrammarState state(grammar);
  ASSERT_TRUE(state.accept("[\""));
  expect_as_by_force(state, other, "[\"");
}

TEST(TokenMask, MayBeAskedForFromSeveralThreads) {
  const VocabularyTrie trie(test_vocabulary(), kEnds);
  const auto grammar = grammar_of(kSchemas[2]);
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < texts.size(); i++) {
    threads.emplace_back([&, i] { texts[i] = written(grammar, trie, 5); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : texts) EXPECT_EQ(text, texts[0]);
}

TEST(TokenMask, SaysWhenTheVocabularyCannotGoOn) {
  const VocabularyTrie trie({"nul", "{", ""}, std::vector<int32_t>{2});
  GrammarState state(grammar_of(R"({"type": "null"})"));
  std::vector<float> logits(3);
  EXPECT_EQ(mask(state, trie, logits), 1u);
  ASSERT_TRUE(state.accept("nul"));
  EXPECT_EQ(mask(state, trie, logits), 0u);
  EXPECT_EQ(mask(state, VocabularyTrie({}, {}), {}), 0u);
}

}  // namespace
}  // namespace pare
