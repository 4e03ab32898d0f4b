// compressed-tensors' sparse formats: the kept values of a matrix and one bit a weight, to and from Dense + Mask.
//
//   sparse-bitmask      M.shape i64 [2] | M.compressed [kept] | M.bitmask u8 [rows, ceil(cols/8)], lowest bit first |
//                       M.row_offsets i64 [rows], values before each row
//   sparse-24-bitmask   M.shape i64 [2, 1] | M.compressed [rows, cols/2] | M.bitmask, two of every aligned four set
//
// M is the module, without ".weight". Older versions of the library put sparse-bitmask's suffixes after the parameter's
// full name, which is read as well; the last ones that had the format (0.12, loaded in a trial) make
// "M.weight.weight" of those.
//
// Row [0, 1.5, 0, -2, 0, 0, 0, 3] is compressed [1.5, -2, 3] with bitmask 8a. The reader believes none of it: bits
// beyond the last column, counts against row_offsets and against the length of `compressed` are all checked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pare/io/safetensors_writer.h"
#include "pare/weights/stored_tensor.h"
#include "pare/weights/weight_form.h"

namespace pare {

enum class BitmaskLayout { sparse, sparse_24 };

struct BitmaskParts {
  StoredView shape, compressed, bitmask;
  std::optional<StoredView> row_offsets;  // sparse-bitmask has it, sparse-24-bitmask has not
};

// Reading. Both throw InputError naming the tensor.
WeightForm bitmask_form(const BitmaskParts& parts);  // reads `shape`, else shapes only
Weight unpack_bitmask(const BitmaskParts& parts);

// Writing; `parameter` is the full name, with ".weight".
std::string bitmask_why_not(const WeightForm& form, BitmaskLayout layout);  // empty: it fits
std::vector<TensorSpec> bitmask_tensors(const WeightForm& form, const std::string& parameter, BitmaskLayout layout);
std::vector<StoredTensor> pack_bitmask(const Weight& weight, const std::string& parameter, BitmaskLayout layout);

}  // namespace pare
