// Between Weight (torch-free) and at::Tensor.
#pragma once

#include <ATen/ATen.h>

#include "pare/weights/weight.h"

namespace pare {

at::Tensor to_tensor(const Weight& weight, at::ScalarType dtype = at::kFloat);  // weight.shape, its own memory
Weight to_weight(const at::Tensor& values, Dtype dtype);                        // dense

}  // namespace pare
