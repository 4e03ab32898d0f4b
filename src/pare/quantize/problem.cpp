#include "pare/quantize/problem.h"

#include "pare/base/error.h"
#include "pare/quantize/rounded.h"

namespace pare {

namespace {

// sum over rows of v H v^T, or of v^2 without H.
double total_form(const at::Tensor& values, const at::Tensor& h) {
  const at::Tensor rows = h.defined() ? row_losses(values, h.contiguous()) : values.to(at::kDouble).square().sum(1);
  double total = 0;
  for (int64_t r = 0; r < rows.size(0); ++r) total += rows.const_data_ptr<double>()[r];
  return total;
}

}  // namespace

OutputError output_error(const at::Tensor& weight, const at::Tensor& dequantized, const at::Tensor& h) {
  PARE_ASSERT(weight.dim() == 2 && weight.sizes() == dequantized.sizes());
  OutputError error;
  error.loss = total_form(weight - dequantized, h);
  const double whole = total_form(weight, h);
  error.relative = whole > 0 ? error.loss / whole : 0;
  return error;
}

}  // namespace pare
