// GPTQ checkpoints: the tensors of one linear layer, to and from GroupedInts.
//
//   M.qweight  i32 [in*bits/32, out]      column n is the bit stream of row n of the weight, lowest bits first
//   M.qzeros   i32 [groups, out*bits/32]  row g is the bit stream of the zeros of group g
//   M.scales   f16 [groups, out]          M.g_idx  i32 [in], the group of each input
//
// So qweight is our rows of codes, as 32-bit words, transposed. "gptq_v2" stores the zero z, "gptq" (v1, the default)
// stores z - 1 modulo 2^bits. Some files labelled v1 hold v2 zeros; of a symmetric layer the zeros themselves tell:
// all 2^(bits-1) is v2, all one less is v1, anything else is refused.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pare/io/safetensors_writer.h"
#include "pare/weights/stored_tensor.h"
#include "pare/weights/weight_form.h"

namespace pare {

enum class GptqVersion { v1, v2 };

// What quantization_config says of a layer.
struct GptqScheme {
  int bits = 4;         // 2, 3, 4, 8
  int64_t group = 128;  // -1: the whole row
  bool symmetric = true;
  bool act_order = false;  // desc_act: only then may g_idx be other than k / group
  GptqVersion version = GptqVersion::v1;
  bool overridden = false;  // "dynamic" may give this layer other bits and groups: they follow from the shapes
};

struct GptqParts {
  StoredView qweight, qzeros, scales;
  std::optional<StoredView> g_idx;
};

// Reading. Both throw InputError naming the tensor (UnsupportedError for a number of bits that has no layout).
WeightForm gptq_form(const GptqParts& parts, const GptqScheme& scheme);  // from types and shapes alone
Weight unpack_gptq(const GptqParts& parts, const GptqScheme& scheme);

// Writing. `module` is the name without ".weight".
std::string gptq_why_not(const WeightForm& form);  // empty: it fits
std::vector<TensorSpec> gptq_tensors(const WeightForm& form, const std::string& module);
// In the order of gptq_tensors. Removed weights are written as the code of zero, ternary as symmetric 2-bit.
std::vector<StoredTensor> pack_gptq(const Weight& weight, const std::string& module, GptqVersion version);

}  // namespace pare
