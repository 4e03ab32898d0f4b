// Mixes of GGUF types by name (Q4_K_M, Q3_K_S ...): which type each tensor of a decoder gets, as llama.cpp lays them
// out.
//
// Where a type's blocks of 256 do not divide a row, llama.cpp takes the next larger type of 32 (Q4_K -> Q5_0), and the
// file grows without a word. Here it is the type of 32 nearest in bits with the least error (Q4_K -> IQ4_NL), and the
// plan says so.
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
// The type before `cols` is looked at. `name`: one of mix_names().
const GgmlType& type_in_mix(const std::string& name, const MixPlace& place);
// That type, or the one that takes its place in rows of `cols`. UsageError where not even blocks of 32 fit.
const GgmlType& fitting_type(const GgmlType& wanted, int64_t cols, const std::string& tensor);

}  // namespace pare
