#include "pare/nn/rms_norm.h"

#include <ATen/Parallel.h>

#include <cmath>

#include "pare/base/error.h"

namespace pare {
namespace {

constexpr int64_t kGrain = 16384;  // elements a thread takes at least

template <class T>
float sum_of_squares(const T* x, int64_t n) {
  // sixteen sums: the compiler may not reorder one
  float sums[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int64_t j = 0; j < 16; ++j) {
      const float value = static_cast<float>(x[i + j]);
      sums[j] += value * value;
    }
  }
  float total = 0;
  for (; i < n; ++i) total += static_cast<float>(x[i]) * static_cast<float>(x[i]);
  for (float sum : sums) total += sum;
  return total;
}

template <class In, class Out, class Store>
void for_each_row(const In* x, const float* w, Out* y, int64_t rows, int64_t n, double eps, const Store& store) {
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const In* src = x + row * n;
      Out* dst = y + row * n;
      const float scale = 1.0f / std::sqrt(sum_of_squares(src, n) / static_cast<float>(n) + static_cast<float>(eps));
      for (int64_t i = 0; i < n; ++i) store(dst[i], static_cast<float>(src[i]) * scale * w[i]);
    }
  });
}

template <class In>
void norm_into(const In* x, const float* w, at::Tensor& y, int64_t rows, int64_t n, double eps) {
  if (y.scalar_type() == at::kFloat) {
    for_each_row(x, w, y.mutable_data_ptr<float>(), rows, n, eps, [](float& dst, float value) { dst = value; });
  } else {
    for_each_row(x, w, y.mutable_data_ptr<at::BFloat16>(), rows, n, eps,
                 [](at::BFloat16& dst, float value) { dst = at::BFloat16(value); });
  }
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& w, double eps, at::ScalarType dtype) {
  const at::Tensor src = x.contiguous();
  at::Tensor y = at::empty(src.sizes(), src.options().dtype(dtype));
  const int64_t n = src.size(-1), rows = src.numel() / std::max<int64_t>(1, n);
  PARE_ASSERT(w.numel() == n && w.scalar_type() == at::kFloat);
  if (src.scalar_type() == at::kFloat) {
    norm_into(src.const_data_ptr<float>(), w.const_data_ptr<float>(), y, rows, n, eps);
  } else {
    norm_into(src.const_data_ptr<at::BFloat16>(), w.const_data_ptr<float>(), y, rows, n, eps);
  }
  return y;
}

void rms_norm_(at::Tensor x, const at::Tensor& w, double eps) {
  PARE_ASSERT(x.is_contiguous() && w.numel() == x.size(-1));
  const int64_t n = x.size(-1), rows = x.numel() / std::max<int64_t>(1, n);
  if (x.scalar_type() == at::kFloat) {
    norm_into(x.const_data_ptr<float>(), w.const_data_ptr<float>(), x, rows, n, eps);
  } else {
    norm_into(x.const_data_ptr<at::BFloat16>(), w.const_data_ptr<float>(), x, rows, n, eps);
  }
}

void add_(at::Tensor residual, const at::Tensor& x, const at::Tensor& w, double eps) {
  PARE_ASSERT(residual.scalar_type() == at::kFloat && residual.is_contiguous() && x.numel() == residual.numel());
  if (!w.defined()) {
    residual.add_(x.view(residual.sizes()));
    return;
  }
  const int64_t n = residual.size(-1), rows = residual.numel() / std::max<int64_t>(1, n);
  const auto store = [](float& dst, float value) { dst += value; };
  float* dst = residual.mutable_data_ptr<float>();
  if (x.scalar_type() == at::kFloat) {
    for_each_row(x.const_data_ptr<float>(), w.const_data_ptr<float>(), dst, rows, n, eps, store);
  } else {
    for_each_row(x.const_data_ptr<at::BFloat16>(), w.const_data_ptr<float>(), dst, rows, n, eps, store);
  }
}

}  // namespace pare
