// The tokens that a run calibrates and evaluates on: from files, or written by the model itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pare/nn/decoder.h"
#include "pare/pipeline/plan.h"
#include "pare/pipeline/recipe.h"
#include "pare/pipeline/run/activation_store.h"
#include "pare/text/tokenizer.h"

namespace pare {

struct CalibrationTokens {
  std::vector<std::vector<int32_t>> calibration;  // windows of equal length
  std::vector<std::vector<int32_t>> evaluation;   // of the same source, and none of the tokens above
  std::string source;       // for the report: "wiki.txt (302,118 tokens)", "written by the model itself"
  std::string fingerprint;  // of the calibration tokens
  std::vector<std::string> warnings;
};

// From files: the last `held_out_tokens` of the plan are kept for the evaluation (at most an eighth of all), in windows
// of `evaluation_length`; calibration windows at seeded places of the rest. Without files the model writes the windows
// itself: the first token drawn evenly from the vocabulary after BOS, then sampled at temperature 1 (as LLM-QAT does,
// arXiv:2305.17888); the result is cached under PARE_CACHE, XDG_CACHE_HOME/pare or ~/.cache/pare by model, seed and
// shape. InputError: files missing, empty, binary, or shorter than one window. ResourceError: nothing is cached and
// writing takes more memory than the plan allows; it says to use --calib.
CalibrationTokens calibration_tokens(const Recipe& recipe, const Plan& plan, int64_t evaluation_length,
                                     const ModelFiles& files, const Decoder& decoder, const Tokenizer& tokenizer);

// Their embeddings, in batches of the plan's size.
void embed_windows(const Decoder& decoder, const std::vector<std::vector<int32_t>>& windows, const MemoryPlan& memory,
                   ActivationStore& states);

}  // namespace pare
