// Many requests through one model at once (continuous batching).
//
// One thread runs the model, pass after pass. Each pass takes one token of every sequence that is being generated and
// fills up with pieces of prompts, an equal share for each that waits, so that neither a long prompt nor a long answer
// makes the others wait. Requests come and go between passes.
//
//   submit -> queue (bounded) -> slots (bounded) -> passes -> Generation::take()
//                 ^---- preempted when keys and values no longer fit: continued later, by computing them again
//
// Prompts begin from what is already computed, token by token: of sequences that have ended (prefix_cache.h) and of
// those under way. One that shares more with a prompt still being computed waits for it: n answers to one prompt, or
// a hundred users behind one system prompt, cost it once.
// What a request gets depends on nothing but the request: not on who else is there, nor on what was found computed.
// A context never shifts: a prompt and an answer that do not fit in it are refused.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pare/base/error.h"
#include "pare/runtime/generation.h"
#include "pare/runtime/language_model.h"
#include "pare/text/tokenizer.h"

namespace pare {

struct EngineOptions {
  int64_t slots = 8;          // sequences that are worked on at once
  int64_t queue = 256;        // requests that wait; more are refused
  int64_t batch = 512;        // tokens of a pass
  int64_t mixed_batch = 128;  // of a pass in which answers are being generated: bounds the time between two tokens
  int64_t max_tokens = 0;     // of one answer; 0: the context is the limit
  uint64_t cache_bytes = 0;   // keys and values of all sequences, those kept included; 0: slots whole contexts
  bool keep_prefixes = true;
  double seconds = 600;                  // from submit to the end of a request; 0: no limit
  std::vector<int32_t> end_tokens = {};  // end a text; tokenizer.eos() as well
};

struct EngineStats {
  int64_t running = 0, waiting = 0;
  uint64_t cache_bytes = 0, kept_bytes = 0;  // keys and values: of all sequences, of those kept for their prefix
  int64_t kept = 0;
  uint64_t passes = 0, pass_tokens = 0;
  uint64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  uint64_t refused = 0, preempted = 0;
  uint64_t ended[5] = {};  // by Finish
  double busy_s = 0;       // in the model
};

// The queue is full, or the engine takes no more: try again later.
struct BusyError : ResourceError {
  using ResourceError::ResourceError;
};

class Engine {
 public:
  // All must outlive it. Every token that ends a text also ends it when it is special to the template: see end_tokens.
  Engine(LanguageModel& model, const Tokenizer& tokenizer, EngineOptions options);
  ~Engine();  // cancels what is left
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // All of them or none. InputError: a prompt is empty, has ids out of range, or does not fit in the context with its
  // max_tokens (both named). BusyError.
  std::vector<std::shared_ptr<Generation>> submit(std::vector<GenerationRequest> requests);

  // No more requests; those that have not begun end with Finish::cancelled. Returns true when all is done, false after
  // `limit` (what is left then is cancelled).
  bool drain(std::chrono::milliseconds limit);

  EngineStats stats() const;
  const EngineOptions& options() const;
  int64_t context() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pare
