// Problem -> Solution: what every solver takes and gives. No solver knows of models, files or recipes.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>
#include <vector>

#include "pare/curvature/layer_hessian.h"
#include "pare/weights/weight.h"

namespace pare {

struct Problem {
  std::string name;        // for messages: "model.layers.7.mlp.down_proj"
  at::Tensor weight;       // [out, in] f32
  LayerHessian curvature;  // h undefined for data-free solvers, only sum_sq for Wanda
};

struct Solution {
  Weight weight;           // what is written
  at::Tensor dequantized;  // [out, in] f32, equal to weight.unpack() bit for bit
  // tr(D H D^T) with D = W - Q and the undamped H: the mean squared output error per token, doubled. Relative: divided
  // by tr(W H W^T). Without H: squared weight error, and relative to the squared weights.
  double loss = 0;
  double relative_loss = 0;
  double rtn_loss = 0;      // of plain rounding with the same options, where the solver computes it; 0 otherwise
  double damp = 0;          // that the factorization ended with
  double identity_gap = 0;  // gptq: how far the walk's sum of e^2 is from the damped error of its answer, relative
  int64_t dead_inputs = 0;
  int64_t rows_kept_rtn = 0;  // rows where plain rounding was better and was kept
  double sparsity = 0;        // zeros / elements of `dequantized`
  std::vector<std::string> warnings;
};

// InputError naming the layer and the place of the first weight that is not finite.
void require_finite_weight(const Problem& problem);

// tr(D H D^T) and its ratio to tr(W H W^T); with undefined h, plain squares. `loss`: the former, where it is known.
struct OutputError {
  double loss = 0, relative = 0;
};
OutputError output_error(const at::Tensor& weight, const at::Tensor& dequantized, const at::Tensor& h,
                         std::optional<double> loss = std::nullopt);

}  // namespace pare
