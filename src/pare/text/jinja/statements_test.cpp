// Layout and statements, and what Python 3.11 with Jinja2 3.1.6 writes for them under trim_blocks and lstrip_blocks.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/text/chat_template.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;

std::string render(const std::string& source) {
  ChatTemplate::Input input;
  input.extra = Json::parse(R"({"n": 7, "l": [3, 1, 2], "d": {"b": 1, "a": 2}})");
  return ChatTemplate::parse(source, "t").render(input);
}

TEST(JinjaLayout, DropsWhiteSpaceAroundStatementsAsTheModelsWereTrainedWith) {
  EXPECT_EQ(render("  {% if true %}\n  x\n  {% endif %}\n  y"), "  x\n  y");
  EXPECT_EQ(render("{%- if true -%}\n x \n{%- endif -%}\n y"), "xy");
  EXPECT_EQ(render("a {%+ if true %}\n b{% endif +%}\n c"), "a  b\n c");
  EXPECT_EQ(render("a\n   {# note #}\nb"), "a\nb");
  EXPECT_EQ(render("a {% if true %}b{% endif %} c"), "a b c");
  EXPECT_EQ(render("{{ 1 }}\n  {{ 2 }}\n"), "1\n  2");  // prints keep theirs; one line break at the end goes
  EXPECT_EQ(render("a\u00a0\n{{- 1 -}}\u2003 b"), "a1b");
  EXPECT_EQ(render("a\r\nb\rc\n\n"), "a\nb\nc\n");
  EXPECT_EQ(render("{{-1}}"), "1");
  EXPECT_EQ(render(""), "");
}

TEST(JinjaLayout, LeavesBracesInTextsAndRawBlocksAlone) {
  EXPECT_EQ(render("{{ '}}' }}{{ \"{%\" }}{{ {'a': {'b': {}}}}}"), "}}{%{'a': {'b': {}}}");
  EXPECT_EQ(render("{% raw %}{{ x }}{% y %}{% endraw %}"), "{{ x }}{% y %}");
  EXPECT_EQ(render("a{#- {{ x }} {% nothing %} -#} b"), "ab");
  EXPECT_EQ(render("{ { % } #}"), "{ { % } #}");
}

TEST(JinjaStatements, LoopKnowsWhereItIs) {
  EXPECT_EQ(render("{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}"
                   "{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}"),
            "103TrueFalse31;212FalseFalse332;321FalseTrue31;");
  EXPECT_EQ(render("{% for i in l if i > 1 %}{{ loop.index }}{{ i }} {% else %}no{% endfor %}"), "13 22 ");
  EXPECT_EQ(render("{% for i in missing %}x{% else %}none{% endfor %}"), "none");
  EXPECT_EQ(render("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}"), "b=1;a=2;");
  EXPECT_EQ(render("{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}"
                   "{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}"),
            "02");
  EXPECT_EQ(render("{% for i in [1, 2] %}{% for j in 'ab' %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}"),
            "121122");
}

TEST(JinjaStatements, NamesSetInALoopStayThere) {
  EXPECT_EQ(render("{% set a = 1 %}{% for i in l %}{{ a }}{% set a = i %}{{ a }} {% endfor %}{{ a }}"), "13 11 12 1");
  EXPECT_EQ(render("{% if true %}{% set c = 1 %}{% endif %}{{ c }}"), "1");
  EXPECT_EQ(render("{% set ns = namespace(a=1) %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}"),
            "7");
  EXPECT_EQ(render("{% set a, b = 1, 2 %}{{ b }}{{ a }}"), "21");
  EXPECT_EQ(render("{% set x | upper %}n{{ n }}{% set y = 1 %}{% endset %}{{ x }}{{ y }}"), "N7");
  EXPECT_EQ(render("{% with a = 1 %}{{ a }}{% endwith %}{{ a }}"), "1");
  EXPECT_EQ(render("{% generation %}a{% set g = 1 %}{% endgeneration %}{{ g }}"), "a");
}

TEST(JinjaStatements, MacrosTakeArgumentsAndDefaults) {
  EXPECT_EQ(render("{% macro m(a, b=2, c='x' ~ b) %}{{ a }}{{ b }}{{ c }}{% endmacro %}"
                   "{{ m(1) }}|{{ m(1, 3) }}|{{ m(b=5, a=4) }}|{{ m() }}"),
            "12x2|13x3|45x5|2x2");
  EXPECT_EQ(render("{% macro f(i) %}{{ i }}{% if i > 0 %}{{ f(i - 1) }}{% endif %}{% endmacro %}{{ f(4) }}"), "43210");
  EXPECT_EQ(render("{% macro m() %}{{ later }}{% endmacro %}{% set later = 3 %}{{ m() }}"), "3");
  EXPECT_EQ(render("{% macro m() %}[{{ caller(1) }}]{% endmacro %}{% call(a) m() %}{{ a }}{{ n }}{% endcall %}"),
            "[17]");
  EXPECT_THROW(render("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}"), InputError);
  EXPECT_THROW(render("{% macro m(a) %}{% endmacro %}{{ m(b=2) }}"), InputError);
}

TEST(JinjaStatements, WhatIsNotUnderstoodIsRefusedWithItsLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"a\n{% include 'x' %}", "line 2: unknown statement {% include %}"},
      {"{% for i in l recursive %}{% endfor %}", "a recursive loop"},
      {"{{ a | urlize }}", "unknown filter 'urlize'"},
      {"{{ a is escaped }}", "unknown test 'escaped'"},
      {"{{ f(*l) }}", "arguments from a list"},
      {"\n\n{% if a %}", "line 3: {% endif %} is missing"},
      {"{{ 'a }}", "a text in quotes has no end"},
      {"{{ a b }}", "expected '}}', found 'b'"},
      {"{{ }}", "expected a value, found '}}'"},
      {"{% break %}", "outside of a loop"},
      {"{% for i in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", "outside of a loop"},
      {"{{ ! }}", "unexpected character '!'"},
      {"{{ (1 }}", "unexpected '}'"},
      {"{% set true = 1 %}", "a name to assign to"},
      {"{{ '\\ud800' }}", "an escape that is no character"},
      {"{{ 99999999999999999999 }}", "too large"},
      {"{# note", "#} is missing"},
      {"{% raw %} {{", "{% endraw %}"}};
  for (const auto& [source, expected] : cases) {
    SCOPED_TRACE(source);
    try {
      ChatTemplate::parse(source, "t");
      FAIL() << "parsed";
    } catch (const UnsupportedError& error) {
      EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
      EXPECT_EQ(std::string(error.what()).rfind("t: line ", 0), 0u) << error.what();
    }
  }
}

}  // namespace
}  // namespace pare
