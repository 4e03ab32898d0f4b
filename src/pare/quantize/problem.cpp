#include "pare/quantize/problem.h"

#include "pare/base/error.h"
#include "pare/quantize/rounded.h"

namespace pare {

namespace {

// sum over rows of v H v^T, or of v^2 without H.
double total_form(const at::Tensor& values, const at::Tensor& h) {
  return total(h.defined() ? row_losses(values, h.contiguous()) : values.to(at::kDouble).square().sum(1));
}

}  // namespace

void require_finite_weight(const Problem& problem) {
  const at::Tensor& w = problem.weight;
  PARE_ASSERT(w.dim() == 2 && w.scalar_type() == at::kFloat);
  if (std::isfinite(w.sum(at::kDouble).item<double>())) return;
  const int64_t place = at::isfinite(w).logical_not().flatten().to(at::kByte).argmax().item<int64_t>();
  const float value = w.flatten()[place].item<float>();
  throw InputError(problem.name + ": weight[" + std::to_string(place / w.size(1)) + ", " +
                   std::to_string(place % w.size(1)) + "] is " + (std::isnan(value) ? "NaN" : "infinite") +
                   "; expected finite weights. The model's file is damaged or was saved from a diverged run: fetch it "
                   "again.");
}

OutputError output_error(const at::Tensor& weight, const at::Tensor& dequantized, const at::Tensor& h,
                         std::optional<double> loss) {
  PARE_ASSERT(weight.dim() == 2 && weight.sizes() == dequantized.sizes());
  OutputError error;
  error.loss = loss ? *loss : total_form(weight - dequantized, h);
  const double whole = total_form(weight, h);
  error.relative = whole > 0 ? error.loss / whole : 0;
  return error;
}

}  // namespace pare
