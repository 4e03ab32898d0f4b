// How well a model predicts a text, and how far its predictions are from its original's.
//
//   nll_t = -log q(x_t | x_<t)            perplexity = exp(mean of nll_t over predicted tokens)
//   kl_t  = sum_v p(v) log(p(v) / q(v))   p: the original, q: the model         top1_t = [argmax p = argmax q]
//
// A window of L tokens predicts L - 1 of them, from nothing before the window. Both models go block by block over all
// windows: one block is in memory and the hidden states in f32 (tokens x hidden x 4 bytes a model; windows go in groups
// when that passes `hidden_bytes`, which then reads the blocks once a group). The head is applied to a few rows of the
// vocabulary and a few tokens at a time, keeping running maxima and sums: [tokens, vocabulary] is never stored and the
// head is read once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "pare/weights/model_files.h"

namespace pare {

using Windows = std::vector<std::vector<int32_t>>;

struct EvaluationOptions {
  bool bf16 = false;                      // products in bf16, sums and softmax in f32 all the same
  uint64_t hidden_bytes = 2'000'000'000;  // of hidden states in memory at once; an EvaluationReference holds its own
  int64_t vocab_piece = 2048;             // 2048 x 128 logits are 1 MB: within a core's cache
  int64_t token_piece = 128;
  // Share of the work done, 0 to 1, and what it is at; called between blocks.
  std::function<void(double done, std::string_view what)> progress = {};
};

struct Evaluation {
  double perplexity = 0, perplexity_stderr = 0;
  int64_t tokens = 0;     // in all windows
  int64_t predicted = 0;  // tokens - windows
  int64_t length = 0;     // of the longest window
  int64_t windows = 0;
  // Against the original, where there is one.
  std::optional<double> kl, kl_stderr, top1, top1_stderr;
  std::optional<double> against_perplexity, against_perplexity_stderr;
  // Neighbouring tokens are correlated, so standard errors are those of the means of windows; with fewer than 8 windows
  // those of single tokens, which is too small by what the correlation makes up.
  bool stderr_over_windows = true;
};

// The original's final hidden states on some windows, so that several models are compared with it at the cost of one.
// Keeps references to both arguments. Memory: predicted tokens x hidden x 4 bytes.
class EvaluationReference {
 public:
  EvaluationReference(const ModelFiles& original, const Windows& windows, const EvaluationOptions& options = {});
  struct State;
  const State& state() const { return *state_; }

 private:
  std::shared_ptr<const State> state_;
};

// Throws InputError when there is nothing to predict, a token is outside the vocabulary or the two vocabularies differ;
// Interrupted. A model that computes NaN is not an error here: its figures are NaN.
Evaluation evaluate(const ModelFiles& model, const Windows& windows, const EvaluationOptions& options = {});
Evaluation evaluate(const ModelFiles& model, const ModelFiles& against, const Windows& windows,
                    const EvaluationOptions& options = {});
Evaluation evaluate(const ModelFiles& model, const EvaluationReference& against, const EvaluationOptions& options = {});

}  // namespace pare
