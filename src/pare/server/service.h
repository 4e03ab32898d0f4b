// What all routes share: the model behind them, once it is loaded.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "pare/runtime/engine.h"
#include "pare/server/http_server.h"
#include "pare/text/chat_template.h"
#include "pare/text/tokenizer.h"

namespace pare {

struct ModelFacts {
  std::string id;      // what /v1/models calls it
  std::string format;  // "gguf"
  std::string chat_template_warning;
  std::string report;  // JSON: what compressing it cost, as cli/model_report.h has it; "" when nothing is known
  uint64_t weight_bytes = 0, parameters = 0;
  int64_t created = 0;  // seconds since 1970
};

class Service {
 public:
  Service(ModelFacts facts, Tokenizer tokenizer, ChatTemplate chat_template, LanguageModel& model,
          const EngineOptions& options);

  const ModelFacts facts;
  const Tokenizer tokenizer;
  const ChatTemplate chat_template;
  const int64_t hidden_size;         // of an embedding
  const size_t longest_token_bytes;  // of text: what the longest prompt that can fit is told by
  Engine engine;

  // Ids of a text. ApiError, before any work, when it cannot fit in the context.
  std::vector<int32_t> tokens_of(const std::string& text, bool add_special_tokens, const std::string& field) const;
};

}  // namespace pare
