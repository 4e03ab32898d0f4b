// U, the upper Cholesky factor of the damped inverse Hessian: what GPTQ and SparseGPT walk along.
//
//   H' = H[P,P] + lambda I,   lambda = damp * mean(diag H);    H'^-1 = U^T U,  U upper triangular
//
// From the Cholesky factor of H' with rows and columns reversed, and a triangular inverse: no explicit H^-1.
// Dead inputs (H_jj = 0) get the mean of the live diagonal before damping. fp32 first, then fp64; if both fail, damp
// grows tenfold, at most 6 times. Never a silent fall back: `failed` says that all of that was not enough.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

namespace pare {

struct InverseFactor {
  at::Tensor u;      // [in, in] f32, upper, in the order of `order`; undefined when failed
  at::Tensor order;  // [in] int64: position i of U is column order[i] of the weight; undefined: the natural order
  at::Tensor dead;   // [in] bool
  int64_t dead_count = 0;
  double damp = 0;    // that worked, relative to `mean`
  double mean = 1;    // of the live diagonal of H
  double lambda = 0;  // damp * mean
  bool used_fp64 = false;
  bool failed = false;
};

// H as `factor` has it, in the natural order: dead inputs revived, damped. f32.
at::Tensor damped(const at::Tensor& h, const InverseFactor& factor);

// `h` [in, in] f32; `name` for messages. Throws InputError when h holds a non-finite value.
InverseFactor inverse_factor(const at::Tensor& h, double damp, const at::Tensor& order, const std::string& name);

}  // namespace pare
