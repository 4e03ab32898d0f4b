#include "pare/runtime/json_grammar.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/base/random.h"
#include "pare/runtime/schema_checker_for_tests.h"

namespace pare {
namespace {

using testing::HasSubstr;

GrammarState of_schema(const std::string& schema) {
  return GrammarState(Grammar::json_schema(parse_ordered_json(schema, "schema")));
}

// Bytes that are accepted, one at a time.
size_t accepted(GrammarState state, const std::string& text) {
  for (size_t i = 0; i < text.size(); i++) {
    if (!state.accept(text.substr(i, 1))) return i;
  }
  return text.size();
}

bool complete(GrammarState state, const std::string& text) {
  return state.accept(text) && state.can_end();
}

void expect_complete(const GrammarState& state, const std::string& text) {
  SCOPED_TRACE(text);
  EXPECT_EQ(accepted(state, text), text.size());
  EXPECT_TRUE(complete(state, text));
  for (uint64_t seed = 0; seed < 5; seed++) {  // in any pieces
    GrammarState pieces = state;
    const CounterRandom random(seed, "pieces");
    for (size_t pos = 0; pos < text.size();) {
      EXPECT_EQ(pieces.can_end() && pieces.must_end(), false);
      const size_t length = 1 + random.below(pos, 7);
      ASSERT_TRUE(pieces.accept(text.substr(pos, length))) << "at " << pos;
      pos += length;
    }
    EXPECT_TRUE(pieces.can_end());
  }
}

struct Refused {
  std::string text;
  size_t at;  // of the first byte that cannot be
};

void expect_refused(const GrammarState& state, const std::vector<Refused>& list) {
  for (const Refused& one : list) {
    EXPECT_EQ(accepted(state, one.text), one.at) << one.text;
    EXPECT_FALSE(complete(state, one.text)) << one.text;
  }
}

TEST(JsonObject, TakesEveryObject) {
  const GrammarState start(Grammar::json_object());
  for (const char* text :
       {"{}", R"({"":""})", R"({"a":1})", R"({"a": 1, "b": [true, false, null]})",
        "{\n  \"a\": {\n    \"b\": []\n  }\n}", R"({"n":[0,-0,1.5,-1.5e10,1E+5,2e-05,1234567890123456]})",
        R"({"s":"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00\ud83d\ude00"})",
        "{\"s\":\"\xC3\xA9 \xE2\x82\xAC \xED\x9F\xBF \xEF\xBF\xBD \xF0\x9F\x98\x80 \xF4\x8F\xBF\xBF \x7F\"}",
        R"({"a":{"a":{"a":[[[[{}]]]]}}})", "{ \"a\" : 1 }", "[1]"}) {
    if (std::string(text) == "{ \"a\" : 1 }" || text[0] == '[') {
      EXPECT_FALSE(complete(start, text)) << text;  // no blank before a colon; no array at the top
    } else {
      expect_complete(start, text);
    }
  }
}

TEST(JsonObject, RefusesAtTheByteThatIsWrong) {
  expect_refused(GrammarState(Grammar::json_object()), {{"", 0},
                                                        {" {}", 0},
                                                        {"null", 0},
                                                        {"{}}", 2},
                                                        {"{} ", 2},
                                                        {"{,}", 1},
                                                        {R"({"a"})", 4},
                                                        {R"({"a":})", 5},
                                                        {R"({"a":1,})", 7},
                                                        {R"({"a":1 "b")", 7},
                                                        {R"({"a":  1})", 6},
                                                        {R"({"a":01})", 6},
                                                        {R"({"a":+1})", 5},
                                                        {R"({"a":.5})", 5},
                                                        {R"({"a":1.})", 7},
                                                        {R"({"a":1e})", 7},
                                                        {R"({"a":1e999})", 9},
                                                        {R"({"a":--1})", 6},
                                                        {R"({"a":tru1})", 8},
                                                        {R"({"a":nul})", 8},
                                                        {R"({"a":NaN})", 5},
                                                        {R"({'a':1})", 1},
                                                        {R"({"a":[1,]})", 8},
                                                        {R"({"a":[1}})", 7},
                                                        {R"({"a":"\x"})", 7},
                                                        {R"({"a":"\u12g4"})", 10},
                                                        {R"({"a":"\uDC00"})", 9},
                                                        {R"({"a":"\uD83D"})", 12},
                                                        {R"({"a":"\uD83Dx"})", 12},
                                                        {R"({"a":"\uD83D\u0041"})", 14},
                                                        {"{\"a\":\"\n\"}", 6},
                                                        {std::string("{\"a\":\"\0\"}", 9), 6},
                                                        {"{\"a\":\"\x80\"}", 6},
                                                        {"{\"a\":\"\xC0\xAF\"}", 6},
                                                        {"{\"a\":\"\xC3\"}", 7},
                                                        {"{\"a\":\"\xE0\x80\x80\"}", 7},
                                                        {"{\"a\":\"\xED\xA0\x80\"}", 7},
                                                        {"{\"a\":\"\xF0\x80\x80\x80\"}", 7},
                                                        {"{\"a\":\"\xF4\x90\x80\x80\"}", 7},
                                                        {"{\"a\":\"\xF5\"}", 6},
                                                        {"{\"a\":\"\xE2\x82\"}", 8},
                                                        {"{\n\n}", 2},
                                                        {"{\n" + std::string(21, ' ') + "}", 22},
                                                        {"{\"a\":12345678901234567}", 21}});
}

TEST(JsonObject, DoesNotNestDeeperThanReadersTake) {
  GrammarState state(Grammar::json_object());
  ASSERT_TRUE(state.accept(R"({"a":)"));
  std::string text = R"({"a":)";
  while (state.accept("[")) text += '[';
  EXPECT_EQ(text.size(), 5 + kDeepest - 1);
  text += std::string(kDeepest - 1, ']') + "}";
  expect_complete(GrammarState(Grammar::json_object()), text);
  EXPECT_NO_THROW(parse_json(text, "text"));
}

TEST(GrammarState, IsUnchangedByWhatItRefuses) {
  GrammarState state(Grammar::json_object());
  ASSERT_TRUE(state.accept(R"({"a": [1, )"));
  EXPECT_FALSE(state.accept("2, 3]}]"));
  EXPECT_FALSE(state.can_end());
  EXPECT_TRUE(state.accept("2, 3]}"));
  EXPECT_TRUE(state.must_end());
  GrammarState number = of_schema(R"({"type": "integer"})");
  EXPECT_FALSE(number.can_end());
  ASSERT_TRUE(number.accept("12"));
  EXPECT_TRUE(number.can_end());
  EXPECT_FALSE(number.must_end());
}

struct Case {
  std::string schema;
  std::vector<std::string> yes;
  std::vector<Refused> no;
};

TEST(JsonSchema, TakesWhatSatisfiesItAndNothingElse) {
  const std::string tree = R"({"$defs": {"tree": {"type": "object", "properties": {"v": {"type": "integer"},
      "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["v"]}}, "$ref": "#/$defs/tree"})";
  const std::vector<Case> cases = {
      {"true", {"1", "\"a\"", "[]", "{}", R"([{"a": [null]}])"}, {{"tru1", 3}, {"[ 1]", 1}, {"[1 ]", 2}}},
      {R"({"type": "object"})", {"{}", R"({"a": 1,"b":{}})"}, {{"[]", 0}}},
      {R"({"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}, "required": ["a"]})",
       {R"({"a":1})", R"({"b": "x", "a": 1})"},
       {{"{}", 1}, {R"({"b": "x"})", 9}, {R"({"a":1,"b":"x"})", 6}, {R"({"c":1})", 2}, {R"({"b":"x","a":1,)", 14}}},
      {R"({"type": "object", "properties": {"a": true, "ab": true, "abc": true}})",
       {"{}", R"({"a":1,"abc":2})", R"({"ab":1})", R"({"a":1,"ab":1,"abc":2})"},
       {{R"({"ab":1,"a":2})", 10}, {R"({"abc":1,"ab":2})", 8}, {R"({"abcd":1})", 5}}},
      {R"({"properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "required": ["b"],
           "additionalProperties": {"type": "integer"}})",
       {R"({"b":null})", R"({"a":null,"b":null,"c":1,"": 2, "aa":3,"é":4,"bx\n":5})"},
       {{R"({"c":1})", 2},
        {R"({"b":null,"b":1})", 12},
        {R"({"b":null,"a":1})", 12},
        {R"({"b":null,"c":null})", 14},
        {R"({"b":null,"\u0061":1})", 11}}},
      {R"({"type": "object", "additionalProperties": {"type": "boolean"}})",
       {"{}", R"({"x":true,"\"":false})"},
       {{R"({"x":1})", 5}}},
      {R"({"type": "object", "properties": {"a\"b\n": {"type": "null"}, "é": {"type": "null"}}, "additionalProperties": true})",
       {R"({"a\"b\n":null,"é":null,"è":1,"a":2})"},
       {{R"({"a\t":1})", 4}}},
      {R"({"type": "object", "required": ["x"], "properties": {"y": {"type": "null"}}})",
       {R"({"y":null,"x":[1]})", R"({"x":1})"},
       {{R"({"y":null})", 9}}},
      {R"({"type": "array"})", {"[]", "[1, \"a\",null]"}, {{"[,", 1}}},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4})",
       {"[1,2]", "[1,2,3]", "[1, 2, 3, 4]"},
       {{"[]", 1}, {"[1]", 2}, {"[1,2,3,4,", 8}, {"[1,\"", 3}}},
      {R"({"items": {"type": "null"}, "minItems": 1, "maxItems": 1})", {"[null]"}, {{"[]", 1}, {"[null,", 5}}},
      {R"({"items": {"type": "null"}, "minItems": 1})", {"[null]", "[null,null,null]"}, {{"[]", 1}}},
      {R"({"items": {"type": "null"}, "minItems": 3})",
       {"[null,null,null]", "[null,null,null,null]"},
       {{"[null,null]", 10}}},
      {R"({"items": {"type": "null"}, "maxItems": 0})", {"[]"}, {{"[n", 1}}},
      {R"({"items": false})", {"[]"}, {{"[n", 1}}},
      {R"({"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "null"}, "minItems": 1, "maxItems": 4})",
       {"[1]", "[1,\"a\"]", "[1,\"a\",null]", "[1, \"a\", null, null]"},
       {{"[]", 1}, {"[\"", 1}, {"[1,2", 3}, {"[1,\"a\",3", 7}, {"[1,\"a\",null,null,", 16}}},
      {R"({"prefixItems": [{"type": "integer"}], "items": false})", {"[]", "[1]"}, {{"[1,", 2}}},
      {R"({"prefixItems": [{"type": "integer"}]})", {"[]", "[1]"}, {{"[1,", 2}}},
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {R"("ab")", R"("abc")", "\"\xC3\xA9\xE2\x82\xAC\"", R"("\n\uD83D\uDE00\u00e9")", "\"\xF0\x9F\x98\x80zz\""},
       {{R"("")", 1}, {R"("a")", 2}, {R"("abcd")", 4}, {R"("abc\n")", 4}, {"\"\xC3\xA9\"", 3}}},
      {R"({"type": "string", "maxLength": 0})", {R"("")"}, {{R"("a)", 1}}},
      {R"({"type": "string", "minLength": 3})", {R"("abc")", R"("abcdefgh")"}, {{R"("ab")", 3}}},
      {R"({"type": ["string", "null", "number", "integer"]})", {"\"\"", "null", "1.5", "-3"}, {{"true", 0}}},
      {R"({"type": "integer"})", {"0", "-1", "999999999999999999"}, {{"1.0", 1}, {"-0", 1}, {"00", 1}, {"1e5", 1}}},
      {R"({"type": "number", "minimum": 0, "maximum": 1})",
       {"0", "1", "0.5", "1.000", "0.0"},
       {{"-", 0}, {"2", 0}, {"1.1", 2}, {"10", 1}, {"0.5e1", 3}, {"00", 1}}},
      {R"({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10})",
       {"0.5", "9.99", "5", "0.001"},
       {{"10", 1}, {"0.00", 4}, {"0,", 1}, {"-1", 0}}},
      {R"({"type": "number", "exclusiveMinimum": -2, "maximum": -1})",
       {"-1", "-1.5", "-1.0"},
       {{"-2", 1}, {"-0", 1}, {"1", 0}}},
      {R"({"type": "integer", "minimum": -0.5, "exclusiveMaximum": 2.5})", {"0", "1", "2"}, {{"-", 0}, {"3", 0}}},
      {R"({"enum": ["a", "ab", 1, 12, null, [1, {"x": "é"}]]})",
       {"\"a\"", "\"ab\"", "1", "12", "null", "[1,{\"x\":\"é\"}]"},
       {{"\"b\"", 1}, {"2", 0}, {"13", 1}, {"[1, ", 3}}},
      {R"({"type": "string", "enum": ["a", 1]})", {"\"a\""}, {{"1", 0}}},
      {R"({"const": "x/y"})", {"\"x/y\""}, {{"\"x\\/y\"", 2}}},
      {R"({"anyOf": [{"type": "integer"}, {"const": "none"}, {"enum": ["all", "no"]}]})",
       {"5", "\"none\"", "\"no\"", "\"all\""},
       {{"\"nope\"", 3}}},
      {R"({"anyOf": [{"type": "object", "properties": {"k": {"const": "a"}, "n": {"type": "integer"}}, "required": ["k", "n"]},
                     {"type": "object", "properties": {"k": {"const": "b"}, "s": {"type": "string"}}, "required": ["k", "s"]}]})",
       {R"({"k": "a", "n": 1})", R"({"k":"b","s":""})"},
       {{R"({"k":"a","s":"")", 10}, {R"({"k":"c")", 6}}},
      {R"({"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}}, "required": ["k"]},
                     {"type": "object", "properties": {"k": {"enum": ["b", "c"]}}, "required": ["k"]}, {"type": "null"}]})",
       {R"({"k":"a"})", R"({"k":"c"})", "null"},
       {{R"({"k":"d"})", 6}}},
      {R"({"allOf": [{"$ref": "#/$defs/x~1y"}], "description": "d", "$defs": {"x/y": {"type": "null"}}})",
       {"null"},
       {{"1", 0}}},
      {tree, {R"({"v":1})", R"({"v":1,"kids":[{"v":2},{"v":3,"kids":[]}]})"}, {{R"({"v":1,"kids":[{"kids)", 17}}},
      {R"({"type": "object", "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}, "required": ["next"]})",
       {R"({"next":null})", R"({"next": {"next": null}})"},
       {{"{}", 1}}},
      {R"({"title": "t", "$schema": "s", "$id": "i", "x-more": 1, "format": "date", "type": "string", "default": 3,
           "uniqueItems": false})",
       {"\"no date\""},
       {{"1", 0}}},
      {R"({"type": "object", "properties": {"a": false, "b": {"type": "null"}}})",
       {"{}", R"({"b":null})"},
       {{R"({"a)", 2}}},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.schema);
    const auto schema = parse_ordered_json(one.schema, "schema");
    const GrammarState state(Grammar::json_schema(schema));
    for (const std::string& text : one.yes) {
      expect_complete(state, text);
      EXPECT_TRUE(SchemaChecker(schema).satisfies(parse_ordered_json(text, "text"))) << text;
    }
    expect_refused(state, one.no);
  }
}

TEST(JsonSchema, FollowsReferencesAsUris) {
  expect_complete(of_schema(R"({"$ref": "#/$defs/a%20b~0%C3%a9", "$defs": {"a b~é": {"type": "null"}}})"), "null");
}

TEST(JsonSchema, BoundsOfIntegersAreExact) {
  const std::vector<std::pair<int64_t, int64_t>> ranges = {
      {0, 0}, {0, 9}, {7, 13}, {-5, 5}, {-130, -17}, {95, 105}, {100, 1000}, {-1, 120}, {-1000, -999}, {38, 1207}};
  for (const auto& [lowest, highest] : ranges) {
    SCOPED_TRACE(std::to_string(lowest) + " to " + std::to_string(highest));
    const GrammarState state = of_schema(R"({"type": "integer", "minimum": )" + std::to_string(lowest) +
                                         R"(, "maximum": )" + std::to_string(highest) + "}");
    const GrammarState decimal = of_schema(R"({"type": "number", "minimum": )" + std::to_string(lowest) +
                                           R"(, "maximum": )" + std::to_string(highest) + "}");
    for (int64_t value = -1300; value <= 1300; value++) {
      const bool within = lowest <= value && value <= highest;
      EXPECT_EQ(complete(state, std::to_string(value)), within) << value;
      EXPECT_EQ(complete(decimal, std::to_string(value)), within) << value;
      EXPECT_EQ(complete(decimal, std::to_string(value) + ".00"), within) << value;
      // away from zero
      const double more = static_cast<double>(value) + (value < 0 ? -0.25 : 0.25);
      EXPECT_EQ(complete(decimal, std::to_string(value) + ".25"),
                static_cast<double>(lowest) <= more && more <= static_cast<double>(highest))
          << value;
    }
  }
}

TEST(JsonSchema, RefusesByPlaceWhatItDoesNotHonour) {
  struct Bad {
    std::string schema, message;
    Exit code;
  };
  const std::vector<Bad> list = {
      {R"({"properties": {"a/b": {"type": "string", "pattern": "x"}}})",
       "#/properties/a~1b/pattern: this keyword is not", Exit::unsupported},
      {R"({"not": {}})", "#/not", Exit::unsupported},
      {R"({"anyOf": [{"type": "null"}, {"multipleOf": 2}]})", "#/anyOf/1/multipleOf", Exit::unsupported},
      {R"({"patternProperties": {}})", "#/patternProperties", Exit::unsupported},
      {R"({"uniqueItems": true})", "#/uniqueItems", Exit::unsupported},
      {R"({"nullable": true})", "#/nullable", Exit::unsupported},
      {R"({"if": true})", "#/if", Exit::unsupported},
      {R"({"items": {"$id": "x"}})", "#/items/$id", Exit::unsupported},
      {R"({"items": [true]})", "#/items: a list of schemas", Exit::unsupported},
      {R"({"allOf": [true, true]})", "#/allOf", Exit::unsupported},
      {R"({"type": "object", "anyOf": [true]})", "#/anyOf: beside \"type\"", Exit::unsupported},
      {R"({"$ref": "#/$defs/a", "minLength": 1, "$defs": {"a": true}})", "#/$ref: beside \"minLength\"",
       Exit::unsupported},
      {R"({"enum": ["a"], "minLength": 1})", "#/minLength: beside enum", Exit::unsupported},
      {R"({"$ref": "other.json"})", "#/$ref: \"other.json\"", Exit::unsupported},
      {R"({"$ref": "#anchor"})", "#/$ref", Exit::unsupported},
      {R"({"type": "number", "minimum": 0.5})", "#/minimum: a bound that is not a whole", Exit::unsupported},
      {R"({"type": "integer", "minimum": 1e30})", "#/minimum: numbers of more than 18", Exit::unsupported},
      {R"({"type": "integer", "maximum": -18446744073709551615})", "#/maximum", Exit::unsupported},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "#/oneOf/1: a value might satisfy alternative 0",
       Exit::unsupported},
      {R"({"oneOf": [{"const": 1}, {"const": 1.0}]})", "#/oneOf/1", Exit::unsupported},
      {R"({"oneOf": [{"const": {"a": 1, "b": 2}}, {"const": {"b": 2, "a": 1}}]})", "#/oneOf/1", Exit::unsupported},
      {R"({"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}}},
                     {"type": "object", "properties": {"k": {"const": "b"}}}]})",
       "#/oneOf/1", Exit::unsupported},
      {"3", "#: expected a schema", Exit::bad_input},
      {R"({"items": "x"})", "#/items: expected a schema", Exit::bad_input},
      {R"({"type": "text"})", "#/type: expected object", Exit::bad_input},
      {R"({"type": []})", "#/type", Exit::bad_input},
      {R"({"type": 3})", "#/type", Exit::bad_input},
      {R"({"enum": []})", "#/enum: no value", Exit::bad_input},
      {R"({"enum": 3})", "#/enum", Exit::bad_input},
      {R"({"type": "string", "enum": [1]})", "#/enum: no value is left that has the type", Exit::bad_input},
      {R"({"anyOf": []})", "#/anyOf", Exit::bad_input},
      {R"({"properties": []})", "#/properties", Exit::bad_input},
      {R"({"required": "a"})", "#/required", Exit::bad_input},
      {R"({"required": [1]})", "#/required", Exit::bad_input},
      {R"({"required": ["a"], "additionalProperties": false})", "#/required: \"a\" is not among", Exit::bad_input},
      {R"({"prefixItems": 1})", "#/prefixItems", Exit::bad_input},
      {R"({"minItems": 3, "maxItems": 2})", "#/minItems: is larger", Exit::bad_input},
      {R"({"minLength": -1})", "#/minLength", Exit::bad_input},
      {R"({"maxLength": 1.5})", "#/maxLength", Exit::bad_input},
      {R"({"type": "integer", "minimum": "1"})", "#/minimum", Exit::bad_input},
      {R"({"type": "integer", "minimum": 5, "maximum": 4})", "#: no number", Exit::bad_input},
      {R"({"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 6})", "#: no number", Exit::bad_input},
      {R"({"type": "number", "exclusiveMinimum": 5, "maximum": 5})", "#: no number", Exit::bad_input},
      {R"({"$ref": "#/$defs/none"})", "#/$ref: the schema has no place", Exit::bad_input},
      {R"({"$ref": "#/a%2"})", "#/$ref: %", Exit::bad_input},
      {R"({"$ref": 1})", "#/$ref", Exit::bad_input},
      {R"({"$ref": "#"})", "leads back to itself", Exit::bad_input},
      {R"({"anyOf": [{"type": "null"}, {"$ref": "#"}]})", "leads back to itself", Exit::bad_input},
      {R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "no value satisfies it", Exit::bad_input},
      {R"({"items": {"$ref": "#"}, "minItems": 1})", "no value satisfies it", Exit::bad_input},
      {"false", "no value satisfies it", Exit::bad_input},
      {R"({"properties": {"a": false}, "required": ["a"]})", "no value satisfies it", Exit::bad_input},
  };
  for (const Bad& bad : list) {
    SCOPED_TRACE(bad.schema);
    try {
      Grammar::json_schema(parse_ordered_json(bad.schema, "schema"));
      ADD_FAILURE() << "was taken";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(bad.message));
      EXPECT_EQ(error.code(), bad.code) << error.what();
    }
  }
}

TEST(JsonSchema, HostileOnesCostLittle) {
  using Json = nlohmann::ordered_json;
  Json wide = {{"type", "object"}, {"properties", Json::object()}};
  for (int i = 0; i < 2000; i++) wide["properties"]["property_" + std::to_string(i)] = {{"type", "string"}};
  GrammarState state(Grammar::json_schema(wide));
  EXPECT_TRUE(state.accept(R"({"property_7":"","property_1999":""})"));  // all optional: one reading

  Json huge = {{"enum", Json::array()}};
  for (int i = 0; i < 300; i++)
    huge["enum"].push_back(std::string(1000, static_cast<char>('a' + i % 26)) + std::to_string(i));
  EXPECT_THROW(Grammar::json_schema({{"enum", {std::string(300'000, 'x')}}}), UnsupportedError);
  EXPECT_NO_THROW(Grammar::json_schema(huge));

  EXPECT_TRUE(
      complete(GrammarState(Grammar::json_schema({{"type", "string"}, {"maxLength", 4'000'000'000}})), "\"a\""));

  // Two readings of each array: a text of [ doubles them, until that is refused
  const auto doubling = parse_ordered_json(
      R"({"$defs": {"a": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/a"}},
          {"type": "array", "items": {"$ref": "#/$defs/a"}, "maxItems": 7}]}}, "$ref": "#/$defs/a"})",
      "schema");
  GrammarState many(Grammar::json_schema(doubling));
  EXPECT_TRUE(many.accept("[[[["));
  EXPECT_THROW(many.accept("[[[[[[[[[["), ResourceError);
  EXPECT_TRUE(many.accept("]]]]"));  // the refused bytes changed nothing
  EXPECT_TRUE(many.can_end());

  // Nested further than is written: refused, unless a shallower value will do
  Json deep = {{"type", "null"}};
  for (int i = 0; i < 70; i++) deep = {{"type", "array"}, {"items", deep}, {"minItems", 1}};
  EXPECT_THROW(Grammar::json_schema(deep), UnsupportedError);
}

}  // namespace
}  // namespace pare
