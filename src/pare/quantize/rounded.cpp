#include "pare/quantize/rounded.h"

#include <algorithm>
#include <vector>

#include "pare/curvature/parallel_tasks.h"
#include "pare/quantize/strips.h"

namespace pare {

at::Tensor row_losses(const at::Tensor& difference, const at::Tensor& h) {
  const at::Tensor d = difference.contiguous();
  const int64_t columns = d.size(1);
  at::Tensor losses = at::empty({d.size(0)}, at::kDouble);
  const std::vector<Strip> strips = cut_rows(d.size(0));
  parallel_tasks(static_cast<int64_t>(strips.size()), [&](int64_t i) {
    const Strip& strip = strips[i];
    std::vector<float> values(static_cast<size_t>(columns * strip.width));
    std::vector<double> loss(static_cast<size_t>(strip.width));
    load_strip(d.const_data_ptr<float>(), columns, strip, values.data());
    quadratic_form(values.data(), strip, h.const_data_ptr<float>(), columns, loss.data());
    std::copy_n(loss.data(), strip.count, losses.data_ptr<double>() + strip.first);
  });
  return losses;
}

double total(const at::Tensor& losses) {
  double sum = 0;
  for (int64_t r = 0; r < losses.size(0); ++r) sum += losses.const_data_ptr<double>()[r];
  return sum;
}

void take_rows(Rounded& into, const Rounded& from, const at::Tensor& mask) {
  const at::Tensor rows = mask.unsqueeze(1);
  into.values = at::where(rows, from.values, into.values);
  into.grid.scale = at::where(rows, from.grid.scale, into.grid.scale);
  into.grid.zero = at::where(rows, from.grid.zero, into.grid.zero);
}

}  // namespace pare
