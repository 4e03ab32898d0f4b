#include "pare/server/service.h"

#include <algorithm>

#include "pare/text/byte_level.h"

namespace pare {
namespace {

size_t longest_token(const Tokenizer& tokenizer) {
  size_t longest = 1;
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id) {
    longest = std::max(longest, tokenizer.token(static_cast<int32_t>(id)).size());
  }
  return longest;
}

int32_t letter(const Tokenizer& tokenizer) {
  const auto ids = tokenizer.encode("a", false);
  return ids.empty() ? 0 : ids.back();
}

}  // namespace

Service::Service(ModelFacts f, Tokenizer t, ChatTemplate c, LanguageModel& model, const EngineOptions& options)
    : facts(std::move(f)),
      tokenizer(std::move(t)),
      chat_template(std::move(c)),
      hidden_size(model.hidden_size()),
      longest_token_bytes(longest_token(tokenizer)),
      engine(model, tokenizer, options),
      before_(letter(tokenizer)),
      before_text_(tokenizer.decode(std::vector<int32_t>{before_}, false)),
      byte_level_(tokenizer.kind() == "byte-level BPE") {}

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

std::string Service::token_bytes(int32_t id) const {
  const std::string piece = tokenizer.token(id);
  if (tokenizer.is_special(id)) return piece;
  if (std::string bytes; byte_level_ && append_bytes_of(bytes, piece)) return bytes;
  if (piece.size() == 6 && piece.starts_with("<0x") && piece.ends_with('>')) {
    return std::string(1, static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16)));
  }
  const std::string text = tokenizer.decode(std::vector<int32_t>{before_, id}, false);
  return text.starts_with(before_text_) ? text.substr(before_text_.size()) : text;
}

}  // namespace pare
