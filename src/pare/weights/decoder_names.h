// Where a model's tensors lie: text-only files, and the places where wrappers with a vision part put the language
// model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "pare/weights/model_files.h"

namespace pare {

struct DecoderNames {
  std::string prefix = "model.";  // of "embed_tokens.weight", "layers.0...", "norm.weight"
  std::string head = "lm_head";   // without ".weight"
};
// Nothing when no such place holds an embedding.
std::optional<DecoderNames> decoder_names(const ModelFiles& files);

struct LinearName {
  std::string layer;  // "model.layers.3.mlp.down_proj", without ".weight"
  std::string kind;   // "down_proj"
  int64_t block = 0;
};
// When the parameter is a linear of a decoder block.
std::optional<LinearName> linear_name(const ParameterInfo& parameter, const DecoderNames& names);

}  // namespace pare
