// AQLM checkpoints: groups of weights as sums of codebook entries (AdditiveCodes).
//
//   M.codes      i8|i16 [out/og, in/ig, books]   unsigned numbers in signed storage: entry = code & (2^bits - 1)
//   M.codebooks  f16|bf16|f32 [books, 2^bits, og, ig]
//   M.scales     f16|bf16|f32 [out/og, 1, 1, 1]
//
//   value[n, ig*j + t] = scale[n/og] * sum_c codebook[c][code[n/og, j, c]][n % og][t]      in f32, books in order
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pare/io/safetensors_writer.h"
#include "pare/weights/stored_tensor.h"
#include "pare/weights/weight_form.h"

namespace pare {

// quantization_config; 0: not said.
struct AqlmScheme {
  int bits = 0;
  int64_t books = 0, out_group = 0, in_group = 0;
};

// "2x8": two codebooks of 8 bits for groups of 8 inputs; "2x8g16": of 16. Nothing for what is no such name.
std::optional<AqlmScheme> aqlm_scheme_named(std::string_view text);

struct AqlmParts {
  StoredView codes, codebooks, scales;
};

// All throw InputError naming the tensor.
WeightForm aqlm_form(const AqlmParts& parts, const AqlmScheme& scheme);  // from types and shapes alone
Weight unpack_aqlm(const AqlmParts& parts, const AqlmScheme& scheme);

// Empty, or why AQLM has no place for it.
std::string aqlm_why_not(const WeightForm& form);
// Codes of up to 8 bits as I8, others as I16. For each of these, pack_aqlm() gives the data.
std::vector<TensorSpec> aqlm_tensors(const WeightForm& form, const std::string& stem);
std::vector<StoredTensor> pack_aqlm(const Weight& weight, const std::string& stem);

}  // namespace pare
