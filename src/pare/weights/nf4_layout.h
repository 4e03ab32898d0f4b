// bitsandbytes' 4-bit checkpoints (NF4 and FP4), read as the f32 values that they stand for.
//
//   M.weight              u8 [elements/2, 1]   row-major, two codes a byte, the first in the high half
//   M.weight.quant_map    f32 [16]             what each code is
//   M.weight.absmax       f32 [blocks]         a scale each `blocksize` values in a row, rows ignored
//   M.weight.quant_state.bitsandbytes__nf4     u8: JSON {quant_type, blocksize, dtype, shape, nested_...}
//
// Twice quantized ("double quant"): absmax u8 [blocks], nested_absmax f32 [ceil(blocks/nested_blocksize)],
// nested_quant_map f32 [256], and in the JSON nested_blocksize and nested_offset:
//
//   absmax[b] = nested_quant_map[code[b]] * nested_absmax[b / nested_blocksize] + nested_offset
//   value[i]  = quant_map[code[i]] * absmax[i / blocksize]          in f32; bitsandbytes then rounds to `dtype`
#pragma once

#include <optional>
#include <string>

#include "pare/weights/stored_tensor.h"
#include "pare/weights/weight_form.h"

namespace pare {

struct Nf4Parts {
  StoredView weight, absmax, quant_map, state;
  std::optional<StoredView> nested_absmax, nested_quant_map;
};

// All throw InputError naming the tensor.
WeightForm nf4_form(const Nf4Parts& parts);    // reads the JSON, else types and shapes alone
std::string nf4_words(const Nf4Parts& parts);  // "NF4, blocks of 64, scales of 8 bits"
Weight unpack_nf4(const Nf4Parts& parts);

}  // namespace pare
