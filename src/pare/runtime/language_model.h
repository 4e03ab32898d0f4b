// A model as those see it who only ask it for the next token: the engine, and tests that script the answers.
//
// Model (model.h) is one; FakeModel (fake_model.h), whose logits are a function of the tokens, is the other: it makes
// the engine's scheduling testable without weights.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "pare/runtime/model.h"

namespace pare {

class LanguageModel {
 public:
  // What the model remembers of one sequence; as Sequence.
  class State {
   public:
    virtual ~State() = default;
    virtual int64_t length() const = 0;
    virtual void truncate(int64_t length) = 0;
    virtual std::unique_ptr<State> fork(int64_t length) const = 0;
    virtual uint64_t bytes() const = 0;
  };
  // As SequenceStep: each state at most once in a pass; `wanted` of the last tokens.
  struct Step {
    State* state = nullptr;
    std::span<const int32_t> tokens;
    int64_t wanted = 1;
  };

  virtual ~LanguageModel() = default;
  virtual int64_t vocab_size() const = 0;
  virtual int64_t hidden_size() const = 0;
  virtual int64_t context() const = 0;                  // tokens a state can hold
  virtual uint64_t bytes_of(int64_t tokens) const = 0;  // what a state takes that holds so many
  virtual std::unique_ptr<State> new_state() const = 0;
  // f32 [wanted of all steps, vocab_size], valid until the next call. Of a step: the same bits whoever goes along and
  // however its tokens are cut into passes.
  virtual std::span<const float> logits(std::span<const Step> steps) = 0;
  virtual std::span<const float> hidden(std::span<const Step> steps) = 0;  // f32 [wanted, hidden_size]
};

// `model` must outlive it.
std::unique_ptr<LanguageModel> as_language_model(Model& model);

}  // namespace pare
