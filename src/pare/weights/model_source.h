// One reader a kind of files behind ModelFiles; each lists its parameters from headers and reads one when asked.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pare/weights/model_files.h"

namespace pare {

struct SourceParameter {
  ParameterInfo info;
  std::function<Weight()> read;
  std::vector<std::string> stored = {};  // names of the stored tensors that it is made of
  bool damaged = false;                  // why it cannot be read: the file is at fault, not our reach
};

// Hugging Face folders. `format` is set to "safetensors" or to the quant_method of quantization_config.
std::vector<SourceParameter> hf_parameters(const HfFolder& folder, std::string& format);
// GGUF models of the architectures in gguf_model.h.
std::vector<SourceParameter> gguf_parameters(const GgufParts& parts);

}  // namespace pare
