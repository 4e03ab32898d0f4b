// A Llama-like Hugging Face folder with random weights and a byte-level tokenizer: for tests and memory benchmarks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace pare {

struct RandomModel {
  int64_t vocab = 256, hidden = 64, intermediate = 128, layers = 3, heads = 4, kv_heads = 2;
  bool tied = true;
  uint64_t seed = 1;
  uint64_t shard_bytes = 5'000'000'000;
  std::string dtype = "BF16";  // F32, F16 or BF16
};

// The weights are normal with variance 1/in, and each linear's columns differ in scale, as real ones do. One tensor in
// memory at a time.
void write_random_model(const std::filesystem::path& folder, const RandomModel& shape);

}  // namespace pare
