// Weights as 8-bit floats with a scale each block, read as the f32 values that they stand for.
//
//   M.weight         F8_E4M3 [out, in]
//   M.weight_scale   f16|bf16|f32, compressed-tensors' "float-quantized": [1] or [] one scale for all, [out, 1] or
//   [out]
//                    one a row, [ceil(out/b0), ceil(in/b1)] one a block
//   or M.weight_scale_inv   transformers' "fp8": the same in blocks of 128 x 128. A factor, whatever its name says
//
//   value = weight * scale, in f32: exact for scales of f16 and bf16 (4 bits times 11 or 8)
#pragma once

#include <vector>

#include "pare/weights/stored_tensor.h"
#include "pare/weights/weight_form.h"

namespace pare {

struct Fp8Block {
  int64_t rows = 128, cols = 128;
  bool operator==(const Fp8Block&) const = default;
};

struct Fp8Parts {
  StoredView weight, scale;
};

// `blocks`: those that quantization_config speaks of; the shape of the scales says which of them, or that there is one
// a row or one for all. All throw InputError naming the tensor.
WeightForm fp8_form(const Fp8Parts& parts, const std::vector<Fp8Block>& blocks);    // from types and shapes alone
std::string fp8_words(const Fp8Parts& parts, const std::vector<Fp8Block>& blocks);  // "FP8, a scale a row"
Weight unpack_fp8(const Fp8Parts& parts, const std::vector<Fp8Block>& blocks);

}  // namespace pare
