// What the tensors of BERT folders are called: as BertModel itself has them, or behind "bert." where a head is beside
// it; layer norms in old files are gamma and beta.
#pragma once

#include <optional>
#include <string>

#include "pare/weights/decoder_names.h"

namespace pare {

// BertModel's own name: "bert.embeddings.LayerNorm.gamma" -> "embeddings.LayerNorm.weight".
std::string encoder_name(const std::string& stored);

// When the parameter is a linear of a block; kinds are called as a decoder's ("q_proj", "up_proj", "down_proj" ...).
std::optional<LinearName> encoder_linear(const ParameterInfo& parameter);

}  // namespace pare
