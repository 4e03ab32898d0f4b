// What `pare compress` was asked to do, as the command line says it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "pare/pipeline/recipe.h"

namespace pare {

struct CompressArgs {
  std::filesystem::path model, out;
  Recipe recipe;  // the recipe file with the flags over it
  uint64_t memory_bytes = 0;
  int threads = 0;
  int64_t evaluation_tokens = 4096, evaluation_length = 512;
  std::filesystem::path evaluation_text;
  double max_kl = 1.0;
  bool json = false;
  std::string command;  // as it was typed
};

}  // namespace pare
