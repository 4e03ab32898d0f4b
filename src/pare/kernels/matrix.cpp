#include "pare/kernels/matrix.h"

#include <algorithm>
#include <optional>

#include "pare/base/error.h"
#include "pare/kernels/aligned_buffer.h"
#include "pare/kernels/functions.h"
#include "pare/kernels/panel_pack.h"

namespace pare {

struct Matrix::Impl {
  int64_t rows = 0, cols = 0;
  std::string layout;
  std::optional<PackedPanels> panels;
  Dense dense;  // of row after row, where there are no panels
  cpu::DenseType dense_type = cpu::DenseType::f32;
};

namespace {

// What a thread multiplies in; kept from call to call.
void* scratch(int64_t bytes) {
  thread_local AlignedBuffer buffer;
  if (buffer.size() < bytes) buffer = AlignedBuffer(bytes);
  return buffer.data();
}

std::optional<cpu::DenseType> dense_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::f16:
      return cpu::DenseType::f16;
    case Dtype::bf16:
      return cpu::DenseType::bf16;
    case Dtype::f32:
      return cpu::DenseType::f32;
    default:
      return std::nullopt;
  }
}

std::string panel_layout(const cpu::Panels& panels, int64_t cols) {
  const bool sparse = cpu::is_sparse(panels.codes_kind);
  const int bits = !sparse ? cpu::stored_bits(panels.codes_kind) : panels.codes_kind == cpu::Codes::sparse4 ? 4 : 8;
  const std::string text = (sparse ? "sparse panels of " : "panels of ") + std::to_string(bits) + "-bit codes";
  if (cpu::has_halves(panels.scales_kind)) return text + ", groups of 16 in superblocks of 256";
  if (cpu::is_super(panels.scales_kind)) return text + ", groups of 32 in superblocks of 256";
  if (panels.groups <= 1) return text + ", a scale a row of " + std::to_string(cols);
  return text + ", groups of " + std::to_string(panels.group_blocks * cpu::kBlockCols);
}

Activations reordered(const Activations& x, const std::vector<int32_t>& order, ThreadPool& pool) {
  Activations result(x.cols(), x.precision());
  std::vector<float> values(static_cast<size_t>(x.tokens() * x.cols()));
  pool.for_each(x.tokens(), [&](int64_t token) {
    float* row = values.data() + token * x.cols();
    for (int64_t c = 0; c < x.cols(); ++c) row[c] = x.values(token)[order[static_cast<size_t>(c)]];
  });
  result.assign(values.data(), x.tokens(), x.cols(), pool);
  return result;
}

}  // namespace

Matrix Matrix::prepare(const Weight& weight, ThreadPool& pool) {
  auto impl = std::make_shared<Impl>();
  impl->rows = weight.rows();
  impl->cols = weight.cols();
  impl->panels = pack_panels(weight, pool);
  if (impl->panels) {
    impl->layout = panel_layout(impl->panels->panels, impl->cols);
  } else {
    const auto* dense = std::get_if<Dense>(&weight.base);
    const auto type = dense != nullptr && !weight.mask ? dense_type(dense->dtype) : std::nullopt;
    if (type) {
      impl->dense = *dense;
      impl->dense_type = *type;
    } else {
      std::vector<std::byte> values(static_cast<size_t>(weight.elements()) * sizeof(float));
      auto* floats = reinterpret_cast<float*>(values.data());
      pool.for_each(impl->rows, [&](int64_t row) {
        weight.unpack_rows(row, 1, std::span(floats + row * impl->cols, static_cast<size_t>(impl->cols)));
      });
      impl->dense = Dense{Dtype::f32, Bytes(std::move(values))};
    }
    impl->layout = "rows of " + std::string(name_of(impl->dense.dtype));
  }
  Matrix matrix;
  matrix.impl_ = std::move(impl);
  return matrix;
}

int64_t Matrix::rows() const {
  return impl_->rows;
}
int64_t Matrix::cols() const {
  return impl_->cols;
}
uint64_t Matrix::bytes() const {
  return impl_->panels ? static_cast<uint64_t>(impl_->panels->bytes()) : impl_->dense.data.size();
}
std::string Matrix::layout() const {
  return impl_->layout;
}

void multiply(const Matrix& matrix, const Activations& x, float* y, int64_t stride, ThreadPool& pool) {
  const Product product{&matrix, y, stride};
  multiply(std::span(&product, 1), x, pool);
}

void multiply(std::span<const Product> products, const Activations& x, ThreadPool& pool) {
  if (x.tokens() == 0) return;
  const cpu::FunctionTable& functions = functions_of(current_isa());
  std::vector<std::optional<Activations>> in_order(products.size());
  std::vector<cpu::Rows> rows(products.size(), x.rows());
  for (size_t i = 0; i < products.size(); ++i) {
    const Matrix::Impl& m = products[i].matrix->impl();
    PARE_ASSERT(x.cols() == m.cols);
    if (!m.panels || m.panels->order.empty()) continue;
    in_order[i].emplace(reordered(x, m.panels->order, pool));
    rows[i] = in_order[i]->rows();
  }
  pool.run([&](int thread, int threads) {
    for (size_t i = 0; i < products.size(); ++i) {
      const Matrix::Impl& m = products[i].matrix->impl();
      float* y = products[i].y;
      if (!m.panels) {
        const auto [first, last] = ThreadPool::share_of(m.rows, thread, threads);
        functions.dense(m.dense_type, m.dense.data.span().data(), m.cols, rows[i], first, last, y + first,
                        products[i].stride);
        continue;
      }
      const cpu::Panels& panels = m.panels->panels;
      const auto product = x.precision() == Precision::int8 ? functions.panels_int8 : functions.panels_f32;
      const auto [first, last] =
          ThreadPool::share_of((m.rows + cpu::kPanelRows - 1) / cpu::kPanelRows, thread, threads);
      if (first < last) {
        product(panels, rows[i], first, last, m.rows, y + first * cpu::kPanelRows, products[i].stride,
                scratch(cpu::panel_room(panels.blocks)));
      }
    }
  });
}

}  // namespace pare
