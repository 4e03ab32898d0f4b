// What the pruning methods share: checks before, and the Solution that is made of values and a mask.
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "pare/quantize/problem.h"
#include "pare/weights/pattern.h"

namespace pare {

// InputError naming the first value that is not finite; UsageError when an n:m pattern does not divide the inputs.
void check_prunable(const Problem& problem, const Pattern& pattern);

// Nearest representable value, f32 in and out; beyond the largest finite one, that one. dtype f32, f16 or bf16.
void round_to(Dtype dtype, const float* src, int64_t count, float* dst);

// keep [out, in] u8, 1: kept.
Mask to_mask(const at::Tensor& keep, const Pattern& pattern);

// The kept ones of `values` [out, in], rounded to `dtype`, zeros elsewhere; losses measured on that.
Solution pruned_solution(const Problem& problem, const at::Tensor& values, const at::Tensor& keep,
                         const Pattern& pattern, Dtype dtype);
// Fills in what follows from `dequantized`: loss, relative_loss, sparsity.
void measure(const Problem& problem, Solution& solution);

}  // namespace pare
