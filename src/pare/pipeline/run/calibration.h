// The tokens that a run calibrates and evaluates on: from files, or written by the model itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pare/nn/decoder.h"
#include "pare/pipeline/recipe.h"
#include "pare/text/tokenizer.h"

namespace pare {

struct CalibrationTokens {
  std::vector<std::vector<int32_t>> calibration;  // windows of equal length
  std::vector<std::vector<int32_t>> evaluation;   // of the same source, and none of the tokens above
  std::string source;       // for the report: "wiki.txt (302,118 tokens)", "written by the model itself"
  std::string fingerprint;  // of all tokens
  std::vector<std::string> warnings;
};

struct EvaluationWish {
  int64_t tokens = 4096;  // 0: none
  int64_t length = 512;
};

// From files: the last `evaluation.tokens` tokens are kept for the evaluation (at most an eighth of all), windows at
// seeded places of the rest. Without files the model writes the windows itself: the first token drawn evenly from the
// vocabulary after BOS, then sampled at temperature 1 (as LLM-QAT does, arXiv:2305.17888); the result is cached under
// PARE_CACHE, XDG_CACHE_HOME/pare or ~/.cache/pare by model, seed and shape.
// InputError: files missing, empty, binary, or shorter than one window. `memory_limit_bytes`: without files the whole
// model must fit, in f32; ResourceError otherwise, which says to use --calib.
CalibrationTokens calibration_tokens(const Recipe& recipe, const EvaluationWish& evaluation, const ModelFiles& files,
                                     const Decoder& decoder, const Tokenizer& tokenizer, uint64_t memory_limit_bytes);

}  // namespace pare
