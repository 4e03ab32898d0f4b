#include "pare/prune/pruned.h"

#include <algorithm>
#include <cmath>

#include "pare/base/error.h"
#include "pare/base/float_types.h"
#include "pare/curvature/parallel_tasks.h"

namespace pare {

namespace {

constexpr float kLargestF16 = 65504.0f;
constexpr float kLargestBf16 = 0x1.fep127f;

}  // namespace

void check_prunable(const Problem& problem, const Pattern& pattern) {
  const at::Tensor& w = problem.weight;
  PARE_ASSERT(w.dim() == 2 && w.scalar_type() == at::kFloat);
  const int64_t in = w.size(1);
  if (pattern.structured() && in % pattern.m != 0) {
    throw UsageError(problem.name + ": the pattern " + pattern.text() + " needs a multiple of " +
                     std::to_string(pattern.m) + " inputs, the layer has " + std::to_string(in) +
                     ". Leave it out (layers: [{match: \"" + problem.name +
                     "\", method: none}]) or use an unstructured sparsity.");
  }
  require_finite_weight(problem);
}

void round_to(Dtype dtype, const float* src, int64_t count, float* dst) {
  switch (dtype) {
    case Dtype::bf16:
      for (int64_t i = 0; i < count; ++i) {
        dst[i] = bf16_to_float(float_to_bf16(std::clamp(src[i], -kLargestBf16, kLargestBf16)));
      }
      return;
    case Dtype::f16:
      for (int64_t i = 0; i < count; ++i) {
        dst[i] = f16_to_float(float_to_f16(std::clamp(src[i], -kLargestF16, kLargestF16)));
      }
      return;
    default:
      PARE_ASSERT(dtype == Dtype::f32);
      std::copy(src, src + count, dst);
  }
}

Mask to_mask(const at::Tensor& keep, const Pattern& pattern) {
  const int64_t out = keep.size(0), in = keep.size(1), row_bytes = (in + 7) / 8;
  PARE_ASSERT(keep.is_contiguous() && keep.scalar_type() == at::kByte);
  Mask mask{.bits = std::vector<uint8_t>(static_cast<size_t>(out * row_bytes)), .n = pattern.n, .m = pattern.m};
  const uint8_t* flags = keep.const_data_ptr<uint8_t>();
  for (int64_t r = 0; r < out; ++r) {
    for (int64_t c = 0; c < in; ++c) {
      mask.bits[r * row_bytes + c / 8] |= static_cast<uint8_t>((flags[r * in + c] & 1) << (c % 8));
    }
  }
  return mask;
}

void measure(const Problem& problem, Solution& solution) {
  const at::Tensor h = problem.curvature.h;
  const OutputError error = output_error(problem.weight, solution.dequantized, h);
  solution.loss = error.loss;
  solution.relative_loss = error.relative;
  const int64_t elements = solution.dequantized.numel();
  const int64_t zeros = elements - solution.dequantized.count_nonzero().item<int64_t>();
  solution.sparsity = elements > 0 ? static_cast<double>(zeros) / static_cast<double>(elements) : 0;
}

Solution pruned_solution(const Problem& problem, const at::Tensor& values, const at::Tensor& keep,
                         const Pattern& pattern, Dtype dtype) {
  const int64_t out = values.size(0), in = values.size(1);
  PARE_ASSERT(values.is_contiguous() && keep.is_contiguous());
  Solution solution;
  solution.dequantized = at::empty({out, in}, at::kFloat);
  const float* src = values.const_data_ptr<float>();
  const uint8_t* flags = keep.const_data_ptr<uint8_t>();
  float* dst = solution.dequantized.data_ptr<float>();
  parallel_tasks(out, [&](int64_t r) {
    round_to(dtype, src + r * in, in, dst + r * in);
    for (int64_t c = 0; c < in; ++c) dst[r * in + c] = flags[r * in + c] ? dst[r * in + c] : 0.0f;
  });
  if (dtype == Dtype::f16) {
    const int64_t clamped = values.abs().gt(kLargestF16).logical_and(keep.ne(0)).sum().item<int64_t>();
    if (clamped > 0) {
      solution.warnings.push_back(problem.name + ": " + std::to_string(clamped) +
                                  " weights were larger than F16 holds and are its largest value now.");
    }
  }
  solution.weight = dense_weight({out, in}, dtype, {dst, static_cast<size_t>(out * in)});
  solution.weight.mask = to_mask(keep, pattern);
  measure(problem, solution);
  return solution;
}

}  // namespace pare
