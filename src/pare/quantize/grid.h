// Uniform grids: how a group of weights maps to integers and back.
//
//   code = clamp(round(w / scale) + zero, 0, maxq)     value = scale * (code - zero)      round: half to even
//   asymmetric: range [min(w,0), max(w,0)] over maxq = 2^bits - 1 steps, so 0 is always on the grid
//   symmetric:  zero = 2^(bits-1), scale = 2 amax / maxq (GPTQ's convention: the largest value is clipped by half a
//   step) ternary:    values -s, 0, s: codes 0..2, zero = 1
// The scale is rounded to its storage type before any code is computed, so that what is written is what was measured.
#pragma once

#include <ATen/ATen.h>

#include "pare/weights/weight.h"

namespace pare {

struct GridOptions {
  int bits = 4;  // 2..8; with `ternary` 2
  bool ternary = false;
  int64_t group = 128;  // inputs that share a scale; -1: the whole row
  bool symmetric = true;
  Dtype scale_dtype = Dtype::f16;
  // Significant bits that a scale keeps; 0: all of scale_dtype's. 7 with 4-bit codes makes scale * zero exact in f16,
  // which is what lets an asymmetric grid be written as GGUF's Q4_1 without changing a value.
  int scale_bits = 0;
  // Shrink the range in 80 steps of 1 % and keep the scale with the least (importance-weighted) squared error; to 3
  // bits asymmetric the zeros beside the ideal one are tried too. false: min/max.
  bool search = true;
};

struct Grid {
  at::Tensor scale;  // [out, groups] f32, representable in scale_dtype
  at::Tensor zero;   // [out, groups] f32, integers
  int maxq = 15;
  int64_t group = 128;  // resolved: never -1
};

// weight [out, in] f32; importance [in] f32 (diag H) or undefined (all ones). Groups along `in` in natural order; the
// last one may be short.
Grid fit_grid(const at::Tensor& weight, const at::Tensor& importance, const GridOptions& options);
at::Tensor encode(const at::Tensor& weight, const Grid& grid);  // uint8 codes [out, in]
at::Tensor decode(const at::Tensor& codes, const Grid& grid);   // f32 [out, in]
Weight to_grouped_ints(const at::Tensor& codes, const Grid& grid, const GridOptions& options);

}  // namespace pare
