// The next token from a model's logits.
//
//   1  repeat, presence and frequency penalties   over the last `repeat_last` tokens of the history
//   2  logit_bias                                 added
//      temperature 0 ends here: the largest logit, the lowest id among equals
//   3  top-k    the k largest; at equal logits the lower id
//   4  top-p    the fewest of those, largest first, whose probabilities (softmax over what top-k left) reach top_p
//   5  min-p    of those, the ones with probability >= min_p * the largest
//   6  softmax(logits / temperature) over what is left, and one draw from it
//
// The order of llama.cpp; Hugging Face divides by the temperature first, which keeps more at temperatures above 1.
// Steps 3 to 5 each keep a head of the order (logit falling, id rising), so the shortest head is selected and no more
// than that is ever sorted. A NaN counts as -inf, +inf as the largest finite number; when nothing is left above -inf
// there is no token to draw, and that is an InputError (a damaged model, or a bias or grammar that forbids everything).
//
// The draw is a function of (seed, position, logits, history): the same on any number of threads and in any batch.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <vector>

namespace pare {

struct SamplingOptions {
  double temperature = 0.8;      // 0: greedy
  int top_k = 40;                // 0: all
  double top_p = 0.95;           // 1: all
  double min_p = 0.05;           // 0: all
  double repeat_penalty = 1.0;   // logits of tokens seen: divided by it where positive, multiplied where negative
  int repeat_last = 64;          // tokens of the history that the penalties look at; 0: none, -1: all
  double presence_penalty = 0;   // taken off the logit of a token seen
  double frequency_penalty = 0;  // and that, for each time it was seen
  std::map<int32_t, float> logit_bias = {};  // -inf: never
  uint64_t seed = 0;
};

// UsageError naming the option as users write it. A bias for an id from `vocabulary` on is one, too.
void check(const SamplingOptions& options, int64_t vocabulary = std::numeric_limits<int64_t>::max());

class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);  // checks them

  // `logits` [vocabulary] are changed by steps 1 and 2. `history`: the tokens so far, prompt included. `position`: of
  // the token to draw, counted from anywhere as long as no position of a sequence comes twice.
  int32_t draw(std::span<float> logits, std::span<const int32_t> history, uint64_t position);

  const SamplingOptions& options() const { return options_; }

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };

  void punish(std::span<float> logits, std::span<const int32_t> history);
  void select(std::span<const float> logits, size_t count);  // the `count` largest, into candidates_, sorted
  void select_nucleus(std::span<const float> logits);
  int32_t draw_any(std::span<const float> logits, float largest, double uniform) const;
  void cut_at_min_p(float largest);

  SamplingOptions options_;
  std::vector<Candidate> candidates_;  // scratch, as are the next two
  std::vector<double> weights_;
  std::vector<int32_t> seen_;
};

}  // namespace pare
