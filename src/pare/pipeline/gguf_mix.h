// Mixes of GGUF types by name (Q4_K_M, Q3_K_S ...): which type each tensor of a decoder gets, as llama.cpp lays them
// out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pare/io/ggml_type.h"

namespace pare {

struct MixPlace {
  std::string kind;  // "q_proj" "k_proj" "v_proj" "o_proj" "gate_proj" "up_proj" "down_proj" "embed" "head"
  int64_t layer = 0, layers = 1;
  int64_t heads_per_kv = 1;
  bool tied = false;  // the embedding is the head, too
};

// Names of mixes, and of types that Pare encodes (each a mix of its own).
std::vector<std::string> mix_names();
// UsageError naming `where` and the nearest known name.
void require_mix(const std::string& name, const std::string& where);
bool is_mix(const std::string& name);  // and not a type
// The type before rows are looked at (gguf_fallback.h). `name`: one of mix_names().
const GgmlType& type_in_mix(const std::string& name, const MixPlace& place);

}  // namespace pare
