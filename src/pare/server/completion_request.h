// POST /v1/chat/completions and /v1/completions: from JSON to requests for the engine.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pare/runtime/generation.h"
#include "pare/server/fields.h"
#include "pare/server/service.h"

namespace pare {

struct CompletionCall {
  bool chat = false;
  bool stream = false, include_usage = false;
  bool echo = false;                        // the prompt in front of the text (completions)
  std::optional<int> logprobs;              // alternatives beside each token
  int64_t choices = 1;                      // of each prompt
  std::vector<std::string> prompt_texts;    // for echo, one for each prompt
  std::vector<GenerationRequest> requests;  // prompts x choices
};

// ApiError for every fault.
CompletionCall read_chat_call(const RequestJson& body, const Service& service);
CompletionCall read_completion_call(const RequestJson& body, const Service& service);

// A prompt, or several: text, list of texts, list of ids, list of lists of ids. `field` names it.
struct Prompt {
  std::vector<int32_t> tokens;
  std::optional<std::string> text;
};
std::vector<Prompt> read_prompts(const Fields& fields, const char* key, const Service& service);

}  // namespace pare
