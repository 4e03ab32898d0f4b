// compressed-tensors "pack-quantized": the tensors of one linear layer, to and from GroupedInts.
//
//   M.weight_packed      i32 [out, P]        row r: codes q + 2^(bits-1) of -2^(bits-1) .. 2^(bits-1)-1, lowest first
//   M.weight_scale       f16|bf16|f32 [out, groups]
//   M.weight_shape       i64 [2] = out, in
//   M.weight_zero_point  i32 [P', groups], packed along out; asymmetric only
//   M.weight_g_idx       i32 [in]; only where a group is not a run of inputs
//
// Our codes are those codes already, so that rows differ in padding alone. Two ways to fill words where bits does not
// divide 32 (3, 5, 6, 7): a dense stream, P = ceil(in*bits/32) (library >= 0.17, May 2026), and before that
// floor(32/bits) codes a word, P = ceil(in/floor(32/bits)). P tells them apart; where both agree it is the dense one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pare/io/safetensors_writer.h"
#include "pare/weights/stored_tensor.h"
#include "pare/weights/weight_form.h"

namespace pare {

enum class WordFilling { stream, whole_codes };

// One of quantization_config's config_groups.
struct PackScheme {
  int bits = 4;
  int64_t group = 128;  // -1: the whole row (strategy "channel")
  bool symmetric = true;
};

struct PackParts {
  StoredView packed, scale, shape;
  std::optional<StoredView> zero_point, g_idx;
};

// Reading. Both throw InputError naming the tensor.
WeightForm packed_form(const PackParts& parts, const PackScheme& scheme);  // reads weight_shape, else shapes only
Weight unpack_packed(const PackParts& parts, const PackScheme& scheme);

// Writing.
std::string packed_why_not(const WeightForm& form);  // empty: it fits
// `indexed`: the weight has a group index (no form of Pare's own methods has one).
std::vector<TensorSpec> packed_tensors(const WeightForm& form, const std::string& module,
                                       WordFilling filling = WordFilling::stream, bool indexed = false);
std::vector<StoredTensor> pack_packed(const Weight& weight, const std::string& module,
                                      WordFilling filling = WordFilling::stream);

}  // namespace pare
