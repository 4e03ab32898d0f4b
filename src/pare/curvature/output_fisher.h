// How much the model's predictions feel an error in the output of each linear layer.
//
//   g_t = d(sum of losses)/d(y_t)        y_t [out]: the layer's output for token t; the loss of a token is that of a
//                                        token drawn from the model's own prediction, so that E[g g^T] is the Fisher
//   KL(original || changed) per token ~ 1/2 mean_t (g_t . dy_t)^2                 dy_t: a small change of the output
//                                     ~ 1/4 sum over rows r of  of_outputs[r] * d_r H d_r^T        (of layer_hessian.h)
//
// where H takes each token with the weight of_tokens[t] / mean(of_tokens). Two steps are approximations: outputs are
// taken one by one, and g_t^2 of a row is taken as the product of what the row and the token have on average.
// Tokens' own weights within a layer: GuidedQuant (arXiv:2505.07004), there in groups of outputs.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pare/nn/decoder.h"

namespace pare {

struct OutputFisher {
  std::map<std::string, at::Tensor> of_outputs;    // by linear: [out] f64, the mean over tokens of g^2
  std::vector<std::vector<at::Tensor>> of_tokens;  // [block][stage]: [tokens] f32, the sum of g^2 over its outputs
  at::Tensor of_embedding;                         // [hidden] f64, the mean over tokens of g^2 before the first block
};

struct OutputFisherOptions {
  uint64_t seed = 0;
  uint64_t checkpoint_bytes = 512'000'000;  // of the blocks' inputs that wait for the way back; windows go in groups
  std::function<void(double done)> progress = {};
};

// windows: of equal length, at least one token each. Two passes forward and one back, block by block; f32 decoder.
// The same bytes for any number of threads. Interrupted between blocks.
OutputFisher output_fisher(const Decoder& decoder, const std::vector<std::vector<int32_t>>& windows,
                           const OutputFisherOptions& options = {});

}  // namespace pare
