#include "pare/nn/rotary.h"

#include <ATen/Parallel.h>

#include "pare/base/error.h"
#include "pare/weights/rotary_frequencies.h"

namespace pare {
namespace {

template <class T>
void rotate_token(T* x, const float* cos, const float* sin, int64_t heads, int64_t half) {
  for (int64_t head = 0; head < heads; ++head) {
    T* first = x + head * 2 * half;
    T* second = first + half;
    for (int64_t i = 0; i < half; ++i) {
      const float a = static_cast<float>(first[i]), b = static_cast<float>(second[i]);
      first[i] = static_cast<T>(a * cos[i] - b * sin[i]);
      second[i] = static_cast<T>(b * cos[i] + a * sin[i]);
    }
  }
}

}  // namespace

RotaryTable rotary_table(const Rope& rope, int64_t head_dim, int64_t length) {
  const std::vector<float> frequencies = rotary_frequencies(rope, head_dim);
  const at::Tensor angles = at::arange(length, at::kFloat).unsqueeze(1) * at::tensor(frequencies, at::kFloat);
  const double factor = rotary_attention_factor(rope.scaling);
  return {.cos = (angles.cos() * factor).contiguous(), .sin = (angles.sin() * factor).contiguous()};
}

void rotate_(at::Tensor x, const RotaryTable& table, int64_t first) {
  PARE_ASSERT(x.dim() == 3 && x.is_contiguous() && table.cos.size(1) * 2 == x.size(2));
  const int64_t length = table.cos.size(0), heads = x.size(1), half = x.size(2) / 2;
  const float* cos = table.cos.const_data_ptr<float>();
  const float* sin = table.sin.const_data_ptr<float>();
  at::parallel_for(0, x.size(0), 16, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; ++token) {
      const int64_t turn = (first + token) % length * half, place = token * heads * 2 * half;
      if (x.scalar_type() == at::kFloat) {
        rotate_token(x.mutable_data_ptr<float>() + place, cos + turn, sin + turn, heads, half);
      } else {
        rotate_token(x.mutable_data_ptr<at::BFloat16>() + place, cos + turn, sin + turn, heads, half);
      }
    }
  });
}

}  // namespace pare
