// config.json's quantization_config (or GPTQ's older quantize_config.json): what it says that reading needs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "pare/io/hf_folder.h"
#include "pare/weights/compressed_tensors_layout.h"
#include "pare/weights/gptq_layout.h"

namespace pare {

struct QuantizationConfig {
  std::string where;   // "DIR/config.json: quantization_config", for messages
  std::string method;  // "", "gptq", "compressed-tensors"
  std::string format;  // compressed-tensors: "pack-quantized", "int-quantized" ...
  GptqScheme gptq;
  // compressed-tensors: the integer schemes of all config_groups, each once. Which one a layer has follows from its
  // shapes, so that the targets, regular expressions from outside, need not be run.
  std::vector<PackScheme> packed;

  // UnsupportedError for another method, another GPTQ variant or weights that are transformed; InputError for a field
  // of the wrong type.
  static QuantizationConfig of(const HfFolder& folder);

  // The one that fits. InputError when none does, UnsupportedError when several different ones do.
  PackScheme scheme_for(const PackParts& parts) const;
};

}  // namespace pare
