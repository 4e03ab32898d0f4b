// The main job: a model in, a smaller checked model out.
//
//   plan -> calibration tokens -> each block: curvature, solve, journal -> write -> read back -> evaluate the original
//   and the result -> report -> the output folder appears
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "pare/base/error.h"
#include "pare/pipeline/recipe.h"

namespace pare {

struct EvaluationWish {
  int64_t tokens = 4096;  // 0: none
  int64_t length = 512;
};

struct CompressOptions {
  std::filesystem::path model, out;
  Recipe recipe;
  std::string command;        // for the report, and to go on after a stop
  uint64_t memory_bytes = 0;  // 0: what the machine has to spare
  int threads = 0;            // 0: all
  EvaluationWish evaluation;
  std::filesystem::path evaluation_text;  // empty: kept apart from the calibration text
  double max_kl = 1.0;                    // nats a token; past it the goal is missed
  bool json = false;                      // the report on stdout
};

// Exit::ok, or Exit::goal_missed with the result kept.
Exit compress(const CompressOptions& options);

}  // namespace pare
