// What the API calls logprobs: the log-softmax of the raw logits, for the chosen token and the largest ones.
//
//   logprob(i) = (x_i - m) - log sum_j exp(x_j - m)      m = max x, all in double
//
// NaN counts as -inf, and so does everything when no logit is above -inf.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pare {

struct TokenLogprob {
  int32_t id = 0;
  double logprob = 0;
};

struct TokenLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // falling; at equal values the lower id first
};

// Call it before Sampler::draw and the grammar's mask, which change the logits. `top`: how many, 0 for none.
TokenLogprobs token_logprobs(std::span<const float> logits, int32_t chosen, int top);

}  // namespace pare
