// Grids of integers out of others, and out of any values.
#pragma once

#include <optional>

#include "pare/weights/weight.h"

namespace pare {

// The same values in codes of at least as many bits and with scales of another type; nothing where that type does not
// hold a scale. Removed weights become the code of zero, ternary codes symmetric ones of 2 bits or more.
std::optional<Weight> widened_ints(const Weight& ints, int bits, Dtype scale_dtype);

// Each number to the nearest of a symmetric grid a row and group: scale = 2 max|w| / (2^bits - 1), as
// compressed-tensors has it, rounded to scale_dtype. `name` for the error when a scale is not finite there.
Weight rounded_ints(const Weight& weight, int bits, int64_t group, Dtype scale_dtype, const std::string& name);

}  // namespace pare
