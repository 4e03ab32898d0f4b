// GGUF types for a file of a wanted size: what each type's error in each tensor costs the model's predictions, measured
// on rows of it, and the best choice that fits.
//
// The model walks the calibration text once, as it is. A linear's Hessian H takes each token with the gradient's weight
// (curvature/output_fisher.h); some of its rows are solved by gptq in each type that their length allows, and
//
//   KL in nats a token ~ 1/4 sum over rows r of  of_outputs[r] d_r H d_r^T
//
// of the whole tensor is taken from those. Rows of a table are those of tokens of the text, as often as they occur.
// Costs are taken to add up, as they do while errors are small.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "pare/curvature/output_fisher.h"
#include "pare/io/ggml_type.h"
#include "pare/nn/decoder.h"
#include "pare/pipeline/plan.h"
#include "pare/pipeline/run/calibration.h"

namespace pare {

struct TypeChoiceJob {
  const ModelFiles* files;
  const Decoder* decoder;
  const Recipe* recipe;  // with a size
  const Plan* plan;      // of that recipe: its uniform types stand for what is not chosen
  PlanOptions plan_options;
  const CalibrationTokens* tokens;
  const OutputFisher* fisher;  // tokens' weights normalised to a mean of 1; empty: all tokens and outputs alike
  std::string key;             // of what was measured before, under the cache folder
};

struct TypeChoice {
  std::map<std::string, const GgmlType*> types;  // of the open tensors
  double predicted_kl = 0;                       // nats a token
};

TypeChoice choose_types(const TypeChoiceJob& job);

}  // namespace pare
