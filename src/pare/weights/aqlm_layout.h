// AQLM checkpoints: groups of weights as sums of codebook entries, read as the f32 values that they stand for.
//
//   M.codes      i8|i16 [out/og, in/ig, books]   unsigned numbers in signed storage: entry = code & (2^bits - 1)
//   M.codebooks  f16|bf16|f32 [books, 2^bits, og, ig]
//   M.scales     f16|bf16|f32 [out/og, 1, 1, 1]
//
//   value[n, ig*j + t] = scale[n/og] * sum_c codebook[c][code[n/og, j, c]][n % og][t]      in f32, books in order
#pragma once

#include <string>

#include "pare/weights/stored_tensor.h"
#include "pare/weights/weight_form.h"

namespace pare {

// quantization_config; 0: not said.
struct AqlmScheme {
  int bits = 0;
  int64_t books = 0, out_group = 0, in_group = 0;
};

struct AqlmParts {
  StoredView codes, codebooks, scales;
};

// All throw InputError naming the tensor.
WeightForm aqlm_form(const AqlmParts& parts, const AqlmScheme& scheme);    // from types and shapes alone
std::string aqlm_words(const AqlmParts& parts, const AqlmScheme& scheme);  // "AQLM, 2 x 8 bits for 1 x 8"
Weight unpack_aqlm(const AqlmParts& parts, const AqlmScheme& scheme);

}  // namespace pare
