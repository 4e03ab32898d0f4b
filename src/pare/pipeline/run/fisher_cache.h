// Gradients of a model on a text (curvature/output_fisher.h), measured once: trying another type or size needs them
// again, and they take as long as the rest of a run. Kept under the cache folder by model, tokens and seed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "pare/curvature/output_fisher.h"
#include "pare/nn/decoder.h"
#include "pare/pipeline/run/calibration.h"
#include "pare/weights/model_files.h"

namespace pare {

struct FisherJob {
  const ModelFiles* files;
  const Decoder* decoder;
  const CalibrationTokens* tokens;
  uint64_t seed = 0;
  uint64_t checkpoint_bytes = 0;  // as in OutputFisherOptions
};

// What the answer depends on.
std::string fisher_key(const FisherJob& job);
// Tokens' weights are divided by their mean: 1 on average. A cache that is damaged or cannot be written costs time and
// a warning, no more.
OutputFisher cached_fisher(const FisherJob& job);

}  // namespace pare
