#include "pare/text/chat_template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/text/tokenizer.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;

ChatTemplate::Input conversation(const char* messages) {
  ChatTemplate::Input input;
  input.messages = Json::parse(messages);
  input.bos_token = "<s>";
  input.eos_token = "</s>";
  return input;
}

constexpr const char* kTwo =
    R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Grüße 👋 "}])";

// A tokenizer with this template, or none.
Tokenizer tokenizer_with(const std::string& chat_template) {
  const std::string folder = testing::TempDir() + "/pare_chat_template";
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const std::string& text) {
    FILE* file = std::fopen((folder + "/" + name).c_str(), "wb");
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
  };
  write("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": []})");
  Json config = Json::object();
  if (!chat_template.empty()) config["chat_template"] = chat_template;
  write("tokenizer_config.json", config.dump());
  return Tokenizer::open(folder);
}

TEST(ChatTemplate, RendersAConversation) {
  const auto chat = ChatTemplate::parse(
      "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m.content | trim }}{{ eos_token }}\n{% endfor %}"
      "{% if add_generation_prompt %}<|assistant|>{% endif %}",
      "t");
  auto input = conversation(kTwo);
  EXPECT_EQ(chat.render(input), "<s><|system|>Be brief.</s>\n<|user|>Grüße 👋</s>\n<|assistant|>");
  input.add_generation_prompt = false;
  EXPECT_EQ(chat.render(input), "<s><|system|>Be brief.</s>\n<|user|>Grüße 👋</s>\n");
  EXPECT_FALSE(chat.is_plain());
}

TEST(ChatTemplate, KeepsTheOrderOfATool) {
  auto input = conversation("[]");
  input.tools = Json::parse(R"([{"type": "function", "function": {"name": "f", "description": "d", "a": 1}}])");
  EXPECT_EQ(ChatTemplate::parse("{{ tools[0] | tojson }}", "t").render(input),
            R"({"type": "function", "function": {"name": "f", "description": "d", "a": 1}})");
  // unordered JSON is taken too
  input.tools = nlohmann::json::parse(R"([{"b": 1, "a": 2}])");
  EXPECT_EQ(ChatTemplate::parse("{{ tools | tojson }}", "t").render(input), R"([{"a": 2, "b": 1}])");
}

TEST(ChatTemplate, GivesTheNamesThatTransformersGives) {
  auto input = conversation("[]");
  const auto names = ChatTemplate::parse(
      "{{ tools is none }} {{ documents is none }} {{ bos_token is defined }} {{ enable_thinking is defined }}", "t");
  EXPECT_EQ(names.render(input), "True True True False");
  input.bos_token = "";
  input.extra = Json{{"enable_thinking", false}, {"tools", 1}};
  EXPECT_EQ(names.render(input), "False True False True");
  input.extra = Json::array();
  EXPECT_THROW(names.render(input), UsageError);
}

TEST(ChatTemplate, WritesTheDateOfTheRun) {
  setenv("TZ", "UTC", 1);
  tzset();
  auto input = conversation("[]");
  input.now = 1732347048;
  EXPECT_EQ(ChatTemplate::parse("{{ strftime_now('%d %b %Y, %-d. %A %H:%M %z%Z%%') }}", "t").render(input),
            "23 Nov 2024, 23. Saturday 07:30 %");
}

TEST(ChatTemplate, RefusalsAreInTheTemplatesOwnWords) {
  const auto chat =
      ChatTemplate::parse("{{ raise_exception('Roles must take turns, not ' ~ messages | length) }}", "t");
  try {
    chat.render(conversation(kTwo));
    FAIL() << "rendered";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "t refuses these messages: Roles must take turns, not 2");
  }
}

TEST(ChatTemplate, MessagesThatDoNotFitAreInputErrorsWithTheLine) {
  const auto chat = ChatTemplate::parse("{% for m in messages %}\n{{ m.role + m.content }}\n{% endfor %}", "t");
  for (const char* messages : {R"([{"role": "user"}])", R"([{"role": "user", "content": null}])", R"([5])", "5"}) {
    SCOPED_TRACE(messages);
    try {
      chat.render(conversation(messages));
      FAIL() << "rendered";
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("t: line "), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(chat.render(conversation(R"([{"role": 18446744073709551615}])")), InputError);
}

TEST(ChatTemplate, PlainIsRoleAndContent) {
  const auto plain = ChatTemplate::plain();
  EXPECT_TRUE(plain.is_plain());
  EXPECT_EQ(plain.render(conversation(kTwo)), "<s>system: Be brief.\nuser:  Grüße 👋 \nassistant:");
  EXPECT_EQ(plain.render(conversation(
                R"([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                    {"role": "assistant", "content": null}])")),
            "<s>user: ab\nassistant: \nassistant:");
}

TEST(ChatTemplate, OfATokenizerFallsBackWithAWarning) {
  std::string warning;
  EXPECT_FALSE(ChatTemplate::of(tokenizer_with("{{ messages | length }}"), &warning).is_plain());
  EXPECT_EQ(warning, "");
  EXPECT_TRUE(ChatTemplate::of(tokenizer_with(""), &warning).is_plain());
  EXPECT_NE(warning.find("no chat template"), std::string::npos) << warning;
  EXPECT_TRUE(ChatTemplate::of(tokenizer_with("\n{% include 'other' %}"), &warning).is_plain());
  EXPECT_NE(warning.find("line 2: unknown statement {% include %}"), std::string::npos) << warning;
  EXPECT_TRUE(ChatTemplate::of(tokenizer_with("{{"), nullptr).is_plain());
}

// Each must end soon, in UnsupportedError or InputError; run under the sanitizers this also finds leaks and overflows.
TEST(ChatTemplate, HostileTemplatesEnd) {
  const auto repeated = [](const std::string& part, size_t times) {
    std::string result;
    for (size_t i = 0; i < times; i++) result += part;
    return result;
  };
  const std::string loop = "{% for i in range(100000) %}", end = "{% endfor %}";
  const std::pair<const char*, std::string> cases[] = {
      {"loops in loops", loop + loop + loop + "x" + end + end + end},
      {"output", loop + "{{ 'x' * 1000 }}" + end},
      {"a long text", "{{ 'x' * 9999999999 }}"},
      {"a long list", "{{ [1] * 9999999999 }}"},
      {"no bytes, many times", "{% for i in [''] * 9999999999 %}{% endfor %}"},
      {"doubling", "{% set n = namespace(t='x') %}" + loop + "{% set n.t = n.t + n.t %}" + end},
      {"doubling a list", "{% set n = namespace(t=[1]) %}" + loop + "{% set n.t = n.t + n.t %}" + end},
      {"wide indent", "{{ 'a\nb' | indent(999999999999) }}"},
      {"wide json", "{{ [1] | tojson(indent=999999999999) }}"},
      {"wide center", "{{ 'a'.center(9223372036854775807) }}"},
      {"wide format", "{{ '%99999999d' % 1 }}"},
      {"much replaced", "{{ ('a' * 100000).replace('', 'b' * 100000) }}"},
      {"much joined", "{{ ('b' * 100000).join('a' * 100000) }}"},
      {"a range", "{{ range(9223372036854775807) }}"},
      {"recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"},
      {"two macros",
       "{% macro a(x) %}{{ b(x) }}{{ b(x) }}{% endmacro %}{% macro b(x) %}{{ a(x) }}{{ a(x) }}{% endmacro %}{{ a(1) "
       "}}"},
      {"a deep list", "{% set n = namespace(l=[]) %}" + loop + "{% set n.l = [n.l] %}" + end},
      {"deep loops",
       "{% set n = namespace(l=[1]) %}" + loop + "{% for x in [n.l] %}{% set n.l = loop %}{% endfor %}" + end},
      {"a wide tree",
       "{% set n = namespace(l=[1]) %}{% for i in range(90) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}"},
      {"equal wide trees",
       "{% set n = namespace(l=[1], m=[1]) %}{% for i in range(90) %}{% set n.l = [n.l, n.l] %}{% set n.m = [n.m, n.m] "
       "%}"
       "{% endfor %}{{ n.l == n.m }}"},
      {"brackets", "{{ " + repeated("(", 100000)},
      {"closed brackets", "{{ " + repeated("[", 5000) + repeated("]", 5000) + " }}"},
      {"nots", "{{ " + repeated("not ", 100000) + "1 }}"},
      {"minuses", "{{ " + repeated("- ", 100000) + "1 }}"},
      {"a long sum", "{{ 1" + repeated(" + 1", 100000) + " }}"},
      {"many filters", "{{ 1" + repeated(" | abs", 100000) + " }}"},
      {"many members", "{{ a" + repeated(".b", 100000) + " }}"},
      {"many else", "{{ 1" + repeated(" if 1 else 1", 100000) + " }}"},
      {"nested ifs", repeated("{% if 1 %}", 30000)},
      {"nested targets", "{% for " + repeated("(", 30000)},
      {"half a megabyte of braces", repeated("{", 500000)}};
  for (const auto& [name, source] : cases) {
    SCOPED_TRACE(name);
    EXPECT_THROW(ChatTemplate::parse(source, "t").render(conversation(kTwo)), Error);
  }
  EXPECT_THROW(ChatTemplate::parse(std::string(2 << 20, ' '), "t"), UnsupportedError);
}

TEST(ChatTemplate, CirclesOfNamespacesAreFreed) {
  EXPECT_EQ(
      ChatTemplate::parse("{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{% set a.l = [a, b] %}"
                          "{% macro m() %}{{ a.x }}{% endmacro %}{% set a.m = m %}ok",
                          "t")
          .render(conversation(kTwo)),
      "ok");
  EXPECT_EQ(ChatTemplate::parse(
                "{% set n = namespace() %}{% for i in range(10000) %}{% set n = namespace(l=n) %}{% set m = n "
                "%}{% endfor %}{% set c = namespace(p=none) %}{% for i in range(10000) %}{% set c.p = "
                "namespace(p=c.p) %}{% endfor %}ok",
                "t")
                .render(conversation(kTwo)),
            "ok");
}

TEST(ChatTemplate, LongConversationsAreWithinTheBounds) {
  Json messages = Json::array();
  for (int i = 0; i < 1000; i++) {
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", std::string(2000, 'x')}});
  }
  ChatTemplate::Input input;
  input.messages = messages;
  const auto chat = ChatTemplate::parse(
      "{% for m in messages[::-1] %}{% set rest = messages[loop.index0:] %}{% if rest | length > 1 and m.content != "
      "rest[0].role "
      "%}{% endif %}{% endfor %}{% for m in messages %}{% set content = '<' + m.role + '>' + m.content | trim + '</>' "
      "%}"
      "{{ content }}{% endfor %}",
      "t");
  EXPECT_EQ(chat.render(input).size(), 500 * (2000 + 6 + 3) + 500 * (2000 + 11 + 3));
}

TEST(ChatTemplate, BytesThatAreNotTextBecomeReplacementCharacters) {
  auto input = conversation("[]");
  input.bos_token = "\xff";
  EXPECT_EQ(ChatTemplate::parse("a\x80{{ bos_token }}{{ '\xc3' | length }}", "t").render(input), "a\uFFFD\uFFFD1");
}

}  // namespace
}  // namespace pare
