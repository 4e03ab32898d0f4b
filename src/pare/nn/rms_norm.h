// RMSNorm, alone or joined with the addition before it.
//
//   y = x / sqrt(mean(x^2) + eps) * w        over the last dimension, in f32 whatever the types of x and y
#pragma once

#include <ATen/ATen.h>

namespace pare {

// x [..., n] f32 or bf16, w [n] f32 -> [..., n] of `dtype`.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& w, double eps, at::ScalarType dtype);

// x [..., n] contiguous, rows normed in place.
void rms_norm_(at::Tensor x, const at::Tensor& w, double eps);

// residual [..., n] f32 += x, or += rms_norm(x, w) where `w` is defined. x f32 or bf16.
void add_(at::Tensor residual, const at::Tensor& x, const at::Tensor& w, double eps);

}  // namespace pare
