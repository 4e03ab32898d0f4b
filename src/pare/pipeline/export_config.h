// What config.json says of the compressed weights, and the model card.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "pare/pipeline/export_layout.h"

namespace pare {

// The source's config for these weights: its dtype (under the key that the source used), and quantization_config where
// the format has one. `act_order`: a weight was met whose inputs are grouped by a permutation.
nlohmann::json export_config(const ExportJob& job, const std::vector<StoredAs>& as, bool act_order);

// Of the dense values, by elements: what a loader computes in when it is told "auto".
Dtype main_dtype(const ExportJob& job);

// Regular expressions for these modules, blocks of one kind in one: ^model\.layers\.(0|2)\.mlp\.down_proj$
std::vector<std::string> module_patterns(const std::vector<std::string>& modules);

// "SmolLM2-135M-Instruct": from the config, the GGUF or the folder.
std::string model_base_name(const ModelFiles& source);

// README.md: front matter for the hub (licence and the like inherited), what was done, the source's own card below.
std::string model_card(const ExportJob& job, const ExportSizes& sizes);

}  // namespace pare
