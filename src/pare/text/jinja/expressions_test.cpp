// Expressions, and what Python 3.11 with Jinja2 3.1.6 prints for them.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/text/chat_template.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;

std::string render(const std::string& source) {
  ChatTemplate::Input input;
  input.extra = Json::parse(R"({
    "n": 7, "x": 2.5, "s": "Hello World", "u": "Grüße 世界", "l": [3, 1, 2], "nil": null,
    "d": {"b": 1, "a": [1, {"k": "v"}], "items": "member"},
    "people": [{"name": "Bo", "age": 3}, {"name": "al", "age": 2, "city": {"name": "Ulm"}}]})");
  return ChatTemplate::parse(source, "t").render(input);
}

struct Case {
  const char *expression, *expected;
};

template <size_t n>
void expect_all(const Case (&cases)[n]) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.expression);
    EXPECT_EQ(render(std::string("{{ ") + c.expression + " }}"), c.expected);
  }
}

TEST(JinjaExpressions, PrintValuesAsPythonDoes) {
  expect_all({{"true", "True"},
              {"none", "None"},
              {"missing", ""},
              {"1.0", "1.0"},
              {"1e16", "1e+16"},
              {"1e15 + 0.5", "1000000000000000.5"},
              {"0.0001", "0.0001"},
              {"0.00001", "1e-05"},
              {"0.1 + 0.2", "0.30000000000000004"},
              {"[true, none, 1.0, 'a', missing]", "[True, None, 1.0, 'a', Undefined]"},
              {R"(["it's", 'say "x"', '\'"', '\n\t\\', 'é', '\x07\u200b'])",
               R"(["it's", 'say "x"', '\'"', '\n\t\\', 'é', '\x07\u200b'])"},
              {"{'k': none, 1: (1, 2), 'e': (1,)}", "{'k': None, 1: (1, 2), 'e': (1,)}"},
              {"1, 2", "(1, 2)"},
              {"range(1, 9, 3)", "range(1, 9, 3)"},
              {"d.keys()", "dict_keys(['b', 'a', 'items'])"}});
}

TEST(JinjaExpressions, CalculateAsPythonDoes) {
  expect_all({{"7 // 2", "3"},
              {"-7 // 2", "-4"},
              {"-7 % 3", "2"},
              {"7 % -3", "-2"},
              {"-7.5 % 2", "0.5"},
              {"6 / 2", "3.0"},
              {"2 ** 10", "1024"},
              {"2 ** -1", "0.5"},
              {"2 ** 3 ** 2", "64"},  // Jinja's ** goes from left to right
              {"true + 1", "2"},
              {"'ab' * 2 + 'c'", "ababc"},
              {"[1] + [2] * 2", "[1, 2, 2]"},
              {"'a' ~ 1 ~ none ~ missing", "a1None"},
              {"-n | abs", "7"}});
}

TEST(JinjaExpressions, CompareAsPythonDoes) {
  expect_all({{"1 < 2 < 3", "True"},
              {"1 < 3 < 2", "False"},
              {"1 == 1.0 == true", "True"},
              {"'a' == 1", "False"},
              {"[1, 2] < [1, 3]", "True"},
              {"{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "True"},
              {"[1] == (1,)", "False"},
              {"missing == missing2", "True"},
              {"missing == none", "False"},
              {"'ell' in s", "True"},
              {"'x' not in ['y']", "True"},
              {"'b' in d", "True"},
              {"'x' in missing", "False"},
              {"0 or 'a'", "a"},
              {"'' or none", "None"},
              {"0 and missing.x", "0"},
              {"not 1 == 2", "True"},
              {"'y' if n else 'z'", "y"},
              {"'y' if not n", ""}});
}

TEST(JinjaExpressions, FindMembersAndItems) {
  expect_all({{"d.b", "1"},
              {"d['a'][1].k", "v"},
              {"d.a.1.k", "v"},
              {"d.zz", ""},
              {"d['items']", "member"},
              {"d.items() | length", "3"},  // the method, not the member, as in Jinja
              {"l[-1]", "2"},
              {"l[9]", ""},
              {"l['a']", ""},
              {"u[2]", "ü"},
              {"u[-1]", "界"},
              {"nil.a", ""},
              {"l[1:]", "[1, 2]"},
              {"l[::-1]", "[2, 1, 3]"},
              {"l[5:]", "[]"},
              {"s[-3:]", "rld"},
              {"u[::-2]", "界 ßr"},
              {"s[2:10:3]", "l r"},
              {"u[1:9223372036854775807:9223372036854775807]", "r"}});
}

TEST(JinjaExpressions, ApplyFilters) {
  expect_all({{"'  a ' | trim", "a"},
              {"none | trim", "None"},
              {"'xxaxx' | trim('x')", "a"},
              {"d | tojson", R"({"b": 1, "a": [1, {"k": "v"}], "items": "member"})"},
              {"{'a': [1, {}], 'b': []} | tojson(indent=2)", "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}"},
              {"u | tojson", "\"Grüße 世界\""},
              {"u[:3] | tojson(ensure_ascii=true)", "\"Gr\\u00fc\""},
              {"'<&\\'\\x1f\\x7f' | tojson", "\"<&'\\u001f\x7f\""},
              {"l | tojson(separators=(',', ':'))", "[3,1,2]"},
              {"u | length", "8"},
              {"l | join(', ')", "3, 1, 2"},
              {"missing | default('x')", "x"},
              {"nil | default('x')", "None"},
              {"nil | d('x', true)", "x"},
              {"'straße' | upper", "STRASSE"},
              {"'ΑΣ ΣΑ' | lower", "ας σα"},
              {"'they\\'re (x-y)' | title", "They're (X-Y)"},
              {"l | first ~ l | last", "32"},
              {"'3.9' | int", "3"},
              {"'x' | int(7)", "7"},
              {"people | map(attribute='name') | list", "['Bo', 'al']"},
              {"people | map(attribute='city.name', default='-') | list", "['-', 'Ulm']"},
              {"people | selectattr('age', 'equalto', 3) | map(attribute='name') | join", "Bo"},
              {"people | rejectattr('city') | list | length", "1"},
              {"nil | selectattr('x') | list", "[]"},
              {"[1, 0, 'a'] | select | list", "[1, 'a']"},
              {"'a\\nb\\n\\nc' | indent(2)", "a\n  b\n\n  c"},
              {"{'b': 1, 'A': 2} | dictsort", "[('A', 2), ('b', 1)]"},
              {"['b', 'a', 'C', 'A'] | unique | sort", "['a', 'b', 'C']"},
              {"people | sort(attribute='name', reverse=true) | map(attribute='age') | list", "[3, 2]"},
              {"2.5 | round", "2.0"},
              {"2.675 | round(2)", "2.67"},
              {"people | sum(attribute='age')", "5"},
              {"'%s-%03d' | format('a', 7)", "a-007"},
              {"'<' | safe", "<"},
              {"'<' + '<' | safe", "&lt;<"}});
}

TEST(JinjaExpressions, AnswerTests) {
  expect_all({{"missing is defined", "False"},
              {"nil is defined and nil is none", "True"},
              {"d is mapping and l is not mapping", "True"},
              {"s is iterable and missing is iterable", "True"},
              {"nil is iterable", "False"},
              {"(l | select) is sequence", "False"},
              {"true is number and true is not integer", "True"},
              {"n is odd and n is divisibleby 7", "True"},
              {"n is in [7]", "True"},
              {"n is eq 7 and n is gt(6)", "True"},
              {"1 is true", "False"},
              {"raise_exception is defined", "True"}});
}

TEST(JinjaExpressions, CallMethods) {
  expect_all({{"' a b '.split()", "['a', 'b']"},
              {"' a b '.split(' ')", "['', 'a', 'b', '']"},
              {"'a,b,c'.rsplit(',', 1)", "['a,b', 'c']"},
              {"'<t>r</t>a'.split('</t>')[0].split('<t>')[-1]", "r"},
              {"'\\n\\na\\n'.strip('\\n')", "a"},
              {"s.startswith(('x', 'He'))", "True"},
              {"s.replace('l', 'L', 1)", "HeLlo World"},
              {"u.find('世')", "6"},
              {"', '.join(['a', 'b'])", "a, b"},
              {"'{}-{x!r}'.format(1, x='q')", "1-'q'"},
              {"'a\\r\\nb\\u2028c\\n'.splitlines()", "['a', 'b', 'c']"},
              {"'a=b=c'.partition('=')", "('a', '=', 'b=c')"},
              {"'they\\'re'.title()", "They'Re"},
              {"d.get('zz', 'D')", "D"},
              {"d.get('zz')", "None"},
              {"l.index(1)", "1"}});
}

TEST(JinjaExpressions, FailWherePythonFails) {
  for (const char* expression :
       {"'a' + 1",         "none + 'a'",       "missing + 'a'", "missing.a",    "missing[0]",  "missing()",
        "missing | int",   "nil.a.b",          "1 / 0",         "1 % 0",        "1 < 'a'",     "1 in 'a'",
        "'a' in none",     "l[::0]",           "missing[1:]",   "5 | length",   "5 | first",   "none | list",
        "[1, 'a'] | sort", "missing | tojson", "'a'.split('')", "s.index('q')", "l.append(4)", "d.update({})",
        "','.join([1])",   "'%d' % 'a'",       "'%s %s' % 1",   "{[]: 1}",      "s.nope()",    "range(200000)"}) {
    SCOPED_TRACE(expression);
    EXPECT_THROW(render(std::string("{{ ") + expression + " }}"), InputError);
  }
}

TEST(JinjaExpressions, RefuseByNameWhatIsNotThere) {
  const Case cases[] = {{"s.swapcase()", "swapcase"},   {"9223372036854775807 + 1", "64 bits"},
                        {"2 ** 64", "64 bits"},         {"'%*d' % 1", "'*'"},
                        {"'{:>5}'.format(1)", "{:>5}"}, {"strftime_now('%f')", "%f"},
                        {"namespace()", "Namespace"},   {"('a' | safe).upper()", "safe"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.expression);
    try {
      render(std::string("\n{{ ") + c.expression + " }}");
      FAIL() << "rendered";
    } catch (const UnsupportedError& error) {
      EXPECT_NE(std::string(error.what()).find(c.expected), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace pare
