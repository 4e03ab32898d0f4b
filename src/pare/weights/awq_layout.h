// AWQ checkpoints ("gemm"): the tensors of one linear layer, to asymmetric GroupedInts of 4 bits.
//
//   M.qweight  i32 [in, out/8]      eight neighbours of `out` in a word: nibble i holds column 8*j + (0 2 4 6 1 3 5
//   7)[i] M.qzeros   i32 [groups, out/8]  the zeros, in the same order, as they are (GPTQ's v1 takes one off) M.scales
//   f16 [groups, out]
//
//   value = scale * (code - zero)
#pragma once

#include "pare/weights/stored_tensor.h"
#include "pare/weights/weight_form.h"

namespace pare {

struct AwqScheme {
  int bits = 4;
  int64_t group = 128;  // -1: the whole row
};

struct AwqParts {
  StoredView qweight, qzeros, scales;
};

// Both throw InputError naming the tensor, UnsupportedError for other bits than 4.
WeightForm awq_form(const AwqParts& parts, const AwqScheme& scheme);  // from types and shapes alone
Weight unpack_awq(const AwqParts& parts, const AwqScheme& scheme);

}  // namespace pare
