// config.json's quantization_config (or GPTQ's older quantize_config.json): what it says that reading needs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "pare/io/hf_folder.h"
#include "pare/weights/aqlm_layout.h"
#include "pare/weights/awq_layout.h"
#include "pare/weights/compressed_tensors_layout.h"
#include "pare/weights/fp8_layout.h"
#include "pare/weights/gptq_layout.h"

namespace pare {

struct QuantizationConfig {
  std::string where;   // "DIR/config.json: quantization_config", for messages
  std::string method;  // "", "gptq", "compressed-tensors", "fp8", "awq", "bitsandbytes", "aqlm", "pare"
  std::string format;  // compressed-tensors: "pack-quantized", "int-quantized" ...
  GptqScheme gptq;
  AwqScheme awq;
  AqlmScheme aqlm;
  std::vector<Fp8Block> fp8_blocks;  // of compressed-tensors' float groups, or fp8's weight_block_size
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
