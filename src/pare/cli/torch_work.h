// What needs torch, as the command line sees it: plain arguments in, a result on stdout, an exit code.
//
// `pare` and `pare-torch` parse the same words with the same code. In pare-torch these functions do the work
// (cli/torch/). In pare, which loads no torch and so starts in milliseconds, they let pare-torch, found beside it, take
// over the process with the same words (hand_over.cpp) and do not return. A new command that computes adds one
// function here, its work in cli/torch/ and one line in hand_over.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "pare/cli/commands.h"
#include "pare/pipeline/recipe.h"

namespace pare {

struct EvalArgs {
  std::filesystem::path model;
  std::filesystem::path against;            // empty: nothing to compare with
  std::vector<std::filesystem::path> text;  // joined as they stand
  int64_t length = 2048;                    // tokens a window
  int64_t tokens = 0;                       // the first so many of the text; 0: all
  std::string dtype = "f32";                // "f32" or "bf16": what products are computed in
  int threads = 0;                          // 0: as many as cores
};
void eval_work(const EvalArgs& args, Console& console);

struct CalibrateArgs {
  std::filesystem::path model, out;
  CalibrationWish calibration;
  uint64_t seed = 0, memory_bytes = 0;
  int threads = 0;  // 0: as many as cores
};
void calibrate_work(const CalibrateArgs& args, Console& console);

struct CompressArgs;  // compress_args.h
void compress_work(const CompressArgs& args, Console& console);

}  // namespace pare
