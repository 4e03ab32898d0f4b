// One request to the engine, and what its caller holds meanwhile.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "pare/runtime/json_grammar.h"
#include "pare/runtime/sampler.h"
#include "pare/runtime/token_logprobs.h"

namespace pare {

enum class Pooling { none, mean, last };

struct GenerationRequest {
  std::vector<int32_t> prompt;        // at least 1 token
  std::optional<int64_t> max_tokens;  // absent: what remains of the context, within EngineOptions::max_tokens
  SamplingOptions sampling;
  std::shared_ptr<const Grammar> grammar;  // what the text must obey; none: any text
  std::vector<std::string> stop;           // none empty; the text ends before the first of them
  std::optional<int> logprobs;             // of each token, with so many of the likeliest beside it
  bool score_prompt = false;               // the same for the prompt's tokens but the first
  bool ignore_end = false;                 // goes on behind the token that ends a text
  Pooling pooling = Pooling::none;         // other: an embedding instead of tokens
};

enum class Finish { stop, length, cancelled, timed_out, failed };
const char* name_of(Finish finish);

struct TokenRecord {
  int32_t id = 0;
  std::optional<TokenLogprobs> logprobs = std::nullopt;
  int64_t text_offset = 0;  // where its text begins, in bytes of the generated text
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;     // of the prompt, found computed
  int64_t generated_tokens = 0;  // the end-of-text token and tokens of a stop string included
};

// Safe from any thread. The engine keeps its own reference: letting go of one does not cancel.
inline constexpr std::string_view kNoMemory = "no memory";  // how error() begins where that was the reason

class Generation {
 public:
  struct Update {
    std::string text;                 // whole characters
    std::vector<TokenRecord> tokens;  // those whose text is out, and the one that ended it
    std::optional<Finish> finish;     // in every update from the last on
  };

  explicit Generation(GenerationRequest request) : request_(std::move(request)) {}
  const GenerationRequest& request() const { return request_; }

  Update take();                                 // what has come since the last call
  Update next(std::chrono::milliseconds limit);  // waits for it; empty when nothing came in time
  void cancel() { cancelled_ = true; }           // ends soon, with Finish::cancelled
  bool cancelled() const { return cancelled_; }

  // Called by the engine's thread whenever something came (`at_end`: only when it is finished), and at once if it is
  // there already. Must be quick and must not call the engine.
  void on_ready(std::function<void()> wake, bool at_end);

  // Whole and constant once finished.
  Usage usage() const;
  std::string error() const;                       // of Finish::failed and timed_out
  std::vector<TokenRecord> prompt_scores() const;  // score_prompt: one for each prompt token, the first without
  std::vector<float> embedding() const;

  // The engine's side.
  void add(std::string text, std::vector<TokenRecord> tokens);
  void add_prompt_score(TokenRecord record);
  void set_embedding(std::vector<float> values);
  void set_usage(const Usage& usage);
  void end(Finish finish, std::string error = {});

 private:
  Update take_locked();
  void wake_if(bool condition, std::unique_lock<std::mutex>& lock);

  const GenerationRequest request_;
  std::atomic<bool> cancelled_ = false;
  mutable std::mutex mutex_;
  std::condition_variable came_;
  Update pending_;
  Usage usage_;
  std::string error_;
  std::vector<TokenRecord> prompt_scores_;
  std::vector<float> embedding_;
  std::function<void()> wake_;
  bool wake_at_end_ = false;
};

}  // namespace pare
