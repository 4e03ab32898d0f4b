// Tokens with their log-probabilities, in the two shapes that OpenAI has for them.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "pare/runtime/generation.h"
#include "pare/server/answer_json.h"
#include "pare/server/service.h"

namespace pare {

// As text where its bytes are whole characters, else "bytes:\xe4\xb8".
std::string token_text(const Service& service, int32_t id);

// /v1/chat/completions: {"content": [{"token", "logprob", "bytes", "top_logprobs"}]}
AnswerJson chat_logprobs(const Service& service, const std::vector<TokenRecord>& tokens);

// /v1/completions: {"tokens", "token_logprobs", "top_logprobs", "text_offset"}; offsets in characters, counted on from
// `characters`. The chosen token is always among its top_logprobs.
AnswerJson completion_logprobs(const Service& service, const std::vector<TokenRecord>& tokens, int64_t& characters);

}  // namespace pare
