#include "pare/server/service.h"

#include <algorithm>

namespace pare {
namespace {

size_t longest_token(const Tokenizer& tokenizer) {
  size_t longest = 1;
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id) {
    longest = std::max(longest, tokenizer.token(static_cast<int32_t>(id)).size());
  }
  return longest;
}

}  // namespace

Service::Service(ModelFacts f, Tokenizer t, ChatTemplate c, LanguageModel& model, const EngineOptions& options)
    : facts(std::move(f)),
      tokenizer(std::move(t)),
      chat_template(std::move(c)),
      hidden_size(model.hidden_size()),
      longest_token_bytes(longest_token(tokenizer)),
      engine(model, tokenizer, options) {}

std::vector<int32_t> Service::tokens_of(const std::string& text, bool add_special_tokens,
                                        const std::string& field) const {
  const auto context = static_cast<size_t>(engine.context());
  // A normalizer may shorten the text, hardly ever by more than half.
  if (text.size() / 2 > context * longest_token_bytes) {
    throw ApiError{.message = field + " has " + std::to_string(text.size()) +
                              " bytes, which cannot fit in this model's context of " + std::to_string(context) +
                              " tokens",
                   .code = "context_length_exceeded",
                   .param = field};
  }
  return tokenizer.encode(text, add_special_tokens);
}

}  // namespace pare
