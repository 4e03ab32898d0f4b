#include "pare/server/token_json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "pare/text/unicode.h"

namespace pare {
namespace {

// JSON has no infinity; OpenAI's own number for "never".
double finite(double logprob) {
  return std::isfinite(logprob) ? logprob : -9999.0;
}

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

AnswerJson chat_token(const Service& service, const TokenLogprob& token) {
  const std::string bytes = service.tokenizer.token_bytes(token.id);
  AnswerJson list = AnswerJson::array();
  for (char byte : bytes) list.push_back(static_cast<unsigned char>(byte));
  return {{"token", token_text(service, token.id)}, {"logprob", finite(token.logprob)}, {"bytes", std::move(list)}};
}

}  // namespace

std::string token_text(const Service& service, int32_t id) {
  const std::string bytes = service.tokenizer.token_bytes(id);
  if (is_valid_utf8(bytes)) return bytes;
  std::string text = "bytes:";
  for (char byte : bytes) {
    char shown[8];
    std::snprintf(shown, sizeof shown, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(byte)));
    text += shown;
  }
  return text;
}

AnswerJson chat_logprobs(const Service& service, const std::vector<TokenRecord>& tokens) {
  AnswerJson content = AnswerJson::array();
  for (const TokenRecord& token : tokens) {
    if (!token.logprobs) continue;
    AnswerJson entry = chat_token(service, token.logprobs->chosen);
    AnswerJson top = AnswerJson::array();
    for (const TokenLogprob& each : token.logprobs->top) top.push_back(chat_token(service, each));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

AnswerJson completion_logprobs(const Service& service, const std::vector<TokenRecord>& tokens, int64_t& characters) {
  AnswerJson texts = AnswerJson::array(), logprobs = texts, tops = texts, offsets = texts;
  for (const TokenRecord& token : tokens) {
    const std::string bytes = service.tokenizer.token_bytes(token.id);
    texts.push_back(token_text(service, token.id));
    offsets.push_back(characters - (!bytes.empty() && is_continuation(bytes[0]) ? 1 : 0));
    characters += std::ranges::count_if(bytes, [](char byte) { return !is_continuation(byte); });
    if (!token.logprobs) {
      logprobs.push_back(nullptr);
      tops.push_back(nullptr);
      continue;
    }
    logprobs.push_back(finite(token.logprobs->chosen.logprob));
    AnswerJson top = AnswerJson::object();
    for (const TokenLogprob& each : token.logprobs->top) top[token_text(service, each.id)] = finite(each.logprob);
    top[token_text(service, token.id)] = finite(token.logprobs->chosen.logprob);
    tops.push_back(std::move(top));
  }
  return {{"tokens", std::move(texts)},
          {"token_logprobs", std::move(logprobs)},
          {"top_logprobs", std::move(tops)},
          {"text_offset", std::move(offsets)}};
}

}  // namespace pare
