// The engine's own view of one request: how far it is, and what becomes of the next logits.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pare/runtime/generation.h"
#include "pare/runtime/language_model.h"
#include "pare/runtime/text_stream.h"

namespace pare {

struct JobLimits {
  int64_t max_tokens = 0;                    // of the answer
  int64_t vocabulary = 0;                    // of the tokenizer; a model's may be padded
  std::span<const int32_t> end_tokens = {};  // outlive the job
  const VocabularyTrie* trie = nullptr;      // of requests with a grammar
  std::chrono::steady_clock::time_point deadline = {};
};

class Job {
 public:
  using State = LanguageModel::State;

  Job(std::shared_ptr<Generation> handle, const Tokenizer& tokenizer, const JobLimits& limits);

  Generation& handle() { return *handle_; }
  const GenerationRequest& request() const { return handle_->request(); }
  // The prompt and what was generated so far.
  std::span<const int32_t> tokens() const { return tokens_; }
  int64_t computed() const { return state ? state->length() : 0; }
  int64_t pending() const { return static_cast<int64_t>(tokens_.size()) - computed(); }
  bool began_answer() const { return tokens_.size() > static_cast<size_t>(prompt_size()); }
  // A prefix that was found computed is of use only where nothing is wanted of its tokens.
  bool takes_prefixes() const { return !scoring() && request().pooling == Pooling::none; }
  // Of the next `count` tokens, how many of the last are wanted (logits, or hidden states).
  int64_t wanted(int64_t count) const;

  // What the model gave for the step of `count` tokens that it just took: [wanted(count), width], wanted as before it.
  void take_logits(int64_t count, std::span<const float> rows, int64_t width);
  void take_hidden(int64_t count, std::span<const float> rows, int64_t width);
  void found_computed(int64_t length);  // before the first pass

  std::optional<Finish> finish() const { return finish_; }
  bool ended() const { return finish_.has_value(); }
  void end(Finish finish, std::string error = {});
  bool past_deadline() const { return std::chrono::steady_clock::now() > limits_.deadline; }
  Usage usage() const { return usage_; }

  std::unique_ptr<State> state;  // none until it begins, and when it was preempted
  uint64_t serial = 0;           // order of arrival
  bool began = false;            // has had a state

 private:
  bool scoring() const { return request().score_prompt && scored_ < prompt_size(); }
  int64_t prompt_size() const { return static_cast<int64_t>(request().prompt.size()); }
  void score(int64_t count, std::span<const float> rows, int64_t width);
  void add_token(std::span<const float> logits);
  void give_out(std::string text, bool all);
  bool ends_text(int32_t token) const;

  std::shared_ptr<Generation> handle_;
  JobLimits limits_;
  std::vector<int32_t> tokens_;
  Sampler sampler_;
  std::vector<float> logits_;  // of the next token, masked and penalised
  std::optional<GrammarState> grammar_;
  TextStream stream_;
  StopMatcher stops_;
  std::vector<TokenRecord> held_;  // their text is not all out
  int64_t text_bytes_ = 0;         // decoded
  int64_t given_bytes_ = 0;        // out
  std::vector<double> pooled_;
  Usage usage_;
  int64_t scored_ = 0;  // prompt tokens that have their score
  std::optional<Finish> finish_;
};

}  // namespace pare
