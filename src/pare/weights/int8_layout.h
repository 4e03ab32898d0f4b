// compressed-tensors "int-quantized" and "naive-quantized": one signed byte a weight, to GroupedInts of 8 bits.
//
//   M.weight             i8 [out, in]
//   M.weight_scale       f16|bf16|f32 [1] or [], [out, 1] or [out], [out, groups]
//   M.weight_zero_point  i8, shaped as the scale; asymmetric only (files of symmetric ones may hold zeros)
//
//   value = scale * (weight - zero_point);   our codes and zeros are these plus 128
//
// Fewer bits than 8 are stored in the same bytes, so they are read as 8. A static M.input_scale rounds activations,
// which Pare does not do; it changes no weight.
#pragma once

#include <optional>

#include "pare/weights/stored_tensor.h"
#include "pare/weights/weight_form.h"

namespace pare {

struct Int8Parts {
  StoredView weight, scale;
  std::optional<StoredView> zero_point;
};

// `group`: group_size of quantization_config, where it has one; else -1. All throw InputError naming the tensor.
WeightForm int8_form(const Int8Parts& parts, int64_t group);  // from types, shapes and zero points
Weight unpack_int8(const Int8Parts& parts, int64_t group);

}  // namespace pare
