// An importance matrix of a model: over a calibration text, the sum of the squares of each linear's inputs.
//
//   plan -> calibration tokens -> each block of the original model: its inputs, its output -> the head's input -> file
//
// The same text, windows and seed as `pare compress` calibrates on. Memory: one block, and the activations of all
// windows, on disk beside the output where they do not fit. The head's entry is called after the embedding where the
// two are one tensor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "pare/pipeline/recipe.h"

namespace pare {

struct CalibrateOptions {
  std::filesystem::path model, out;  // out: whole or not at all; .dat: the older format
  CalibrationWish calibration;
  uint64_t seed = 0;
  uint64_t memory_bytes = 0;  // 0: what the machine has to spare
  int threads = 0;            // 0: all
};

struct CalibrateFigures {
  int64_t entries = 0, tokens = 0, windows = 0, length = 0;
  double seconds = 0;
  std::string source;  // of the text, as reports have it
};
CalibrateFigures calibrate(const CalibrateOptions& options);

}  // namespace pare
