#include "pare/quantize/grid.h"

#include <algorithm>
#include <cmath>

#include "pare/base/error.h"
#include "pare/curvature/parallel_tasks.h"
#include "pare/quantize/grid_fit.h"
#include "pare/quantize/strips.h"
#include "pare/weights/bitpack.h"

namespace pare {

Grid fit_grid(const at::Tensor& weight, const at::Tensor& importance, const GridOptions& options) {
  PARE_ASSERT(weight.dim() == 2 && weight.scalar_type() == at::kFloat);
  PARE_ASSERT(options.bits >= 2 && options.bits <= 8 && (options.group == -1 || options.group > 0));
  const at::Tensor w = weight.contiguous();
  const int64_t out = w.size(0), in = w.size(1);
  const GridShape shape(options);
  const int64_t group = options.group == -1 ? in : std::min(options.group, in);
  const int64_t groups = (in + group - 1) / group;
  const at::Tensor h = importance.defined() ? importance.to(at::kFloat).contiguous() : at::Tensor();
  const float* h_data = h.defined() ? h.data_ptr<float>() : nullptr;

  Grid grid{.scale = at::empty({out, groups}, at::kFloat),
            .zero = at::empty({out, groups}, at::kFloat),
            .maxq = static_cast<int>(shape.maxq),
            .group = group};
  const std::vector<Strip> strips = cut_rows(out);
  parallel_tasks(static_cast<int64_t>(strips.size()), [&](int64_t i) {
    const Strip& strip = strips[i];
    std::vector<float> values(static_cast<size_t>(in * strip.width));
    std::vector<float> scale(static_cast<size_t>(groups * strip.width)), zero(scale.size());
    load_strip(w.data_ptr<float>(), in, strip, values.data());
    for (int64_t g = 0; g < groups; ++g) {
      fit_group(shape, values.data() + g * group * strip.width, strip.width, std::min(group, in - g * group),
                h_data != nullptr ? h_data + g * group : nullptr, scale.data() + g * strip.width,
                zero.data() + g * strip.width);
    }
    store_strip(scale.data(), groups, strip, grid.scale.data_ptr<float>());
    store_strip(zero.data(), groups, strip, grid.zero.data_ptr<float>());
  });
  return grid;
}

namespace {

// f(row, first column, columns, scale, zero) for each group of each row.
template <typename F>
void for_each_group(const Grid& grid, int64_t out, int64_t in, const F& f) {
  PARE_ASSERT(grid.scale.size(0) == out && grid.scale.size(1) == (in + grid.group - 1) / grid.group);
  const at::Tensor scale = grid.scale.contiguous(), zero = grid.zero.contiguous();
  const float* s = scale.data_ptr<float>();
  const float* z = zero.data_ptr<float>();
  const int64_t groups = scale.size(1);
  constexpr int64_t kRows = 64;
  parallel_tasks((out + kRows - 1) / kRows, [&](int64_t task) {
    for (int64_t r = task * kRows; r < std::min(out, (task + 1) * kRows); ++r) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = g * grid.group;
        f(r, first, std::min(grid.group, in - first), s[r * groups + g], z[r * groups + g]);
      }
    }
  });
}

}  // namespace

at::Tensor encode(const at::Tensor& weight, const Grid& grid) {
  const at::Tensor w = weight.contiguous();
  const int64_t out = w.size(0), in = w.size(1);
  at::Tensor codes = at::empty({out, in}, at::kByte);
  const float* src = w.data_ptr<float>();
  uint8_t* dst = codes.data_ptr<uint8_t>();
  const float maxq = static_cast<float>(grid.maxq);
  for_each_group(grid, out, in, [=](int64_t row, int64_t first, int64_t columns, float scale, float zero) {
    for (int64_t c = row * in + first; c < row * in + first + columns; ++c) {
      const float steps = std::clamp(src[c] / scale, -zero, maxq - zero);
      dst[c] = static_cast<uint8_t>(std::nearbyint(steps) + zero);
    }
  });
  return codes;
}

at::Tensor decode(const at::Tensor& codes, const Grid& grid) {
  const at::Tensor q = codes.contiguous();
  const int64_t out = q.size(0), in = q.size(1);
  at::Tensor weight = at::empty({out, in}, at::kFloat);
  const uint8_t* src = q.data_ptr<uint8_t>();
  float* dst = weight.data_ptr<float>();
  for_each_group(grid, out, in, [=](int64_t row, int64_t first, int64_t columns, float scale, float zero) {
    for (int64_t c = row * in + first; c < row * in + first + columns; ++c) {
      dst[c] = scale * (static_cast<float>(src[c]) - zero);
    }
  });
  return weight;
}

Weight to_grouped_ints(const at::Tensor& codes, const Grid& grid, const GridOptions& options) {
  const at::Tensor q = codes.contiguous();
  const int64_t out = q.size(0), in = q.size(1);
  GroupedInts ints;
  ints.bits = options.ternary ? 2 : options.bits;
  ints.group = grid.group;
  ints.symmetric = options.symmetric || options.ternary;
  ints.scale_dtype = options.scale_dtype;
  ints.ternary = options.ternary;
  const int64_t row_bytes = packed_bytes(in, ints.bits);
  ints.codes.resize(static_cast<size_t>(out * row_bytes));
  for (int64_t r = 0; r < out; ++r) {
    pack_bits({q.data_ptr<uint8_t>() + r * in, static_cast<size_t>(in)}, ints.bits,
              {ints.codes.data() + r * row_bytes, static_cast<size_t>(row_bytes)});
  }
  const at::Tensor scale = grid.scale.contiguous(), zero = grid.zero.contiguous();
  ints.scales.assign(scale.data_ptr<float>(), scale.data_ptr<float>() + scale.numel());
  if (!ints.symmetric) {
    ints.zeros.resize(static_cast<size_t>(zero.numel()));
    std::transform(zero.data_ptr<float>(), zero.data_ptr<float>() + zero.numel(), ints.zeros.begin(),
                   [](float z) { return static_cast<uint8_t>(z); });
  }
  Weight weight;
  weight.shape = {out, in};
  weight.base = std::move(ints);
  return weight;
}

}  // namespace pare
