// Text from a model held whole in memory: a few tokens a step, keys and values cached.
//
// For calibration text that the model writes itself and for samples in reports. The fast torch-free runtime is
// runtime/'s business.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "pare/nn/decoder.h"

namespace pare {

struct GenerateOptions {
  double temperature = 0;  // 0: the most likely token
  uint64_t seed = 0;
  size_t at_once = 32;      // prompts whose keys and values are in memory together; changes no token
  bool stop_at_end = true;  // at one of `end`
  std::vector<int32_t> end;
  std::function<void(int64_t)> on_token;  // called with the length reached
};

// Each prompt (all of one length, at least 1) continued until it is `length` tokens long. The same tokens for any
// number of threads. InputError for ids out of range.
std::vector<std::vector<int32_t>> generate(const Decoder& decoder, const std::vector<std::vector<int32_t>>& prompts,
                                           int64_t length, const GenerateOptions& options);

}  // namespace pare
