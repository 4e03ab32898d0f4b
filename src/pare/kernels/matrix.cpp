#include "pare/kernels/matrix.h"

#include <algorithm>

#include "pare/base/error.h"
#include "pare/kernels/aligned_buffer.h"
#include "pare/kernels/functions.h"
#include "pare/kernels/matrix_impl.h"
#include "pare/weights/gguf_lattice.h"

namespace pare {

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
  if (panels.scales_kind == cpu::Scales::f16_halves) return text + ", groups of 16";
  if (cpu::has_halves(panels.scales_kind)) return text + ", groups of 16 in superblocks of 256";
  if (cpu::is_super(panels.scales_kind)) return text + ", groups of 32 in superblocks of 256";
  if (panels.groups <= 1) return text + ", a scale a row of " + std::to_string(cols);
  return text + ", groups of " + std::to_string(panels.group_blocks * cpu::kBlockCols);
}

// What has no layout of its own, as plain rows; `dtype` holds the values exactly.
Dense spread_out(const Weight& weight, Dtype dtype, ThreadPool& pool) {
  const int64_t cols = weight.cols(), row_bytes = cols * size_of(dtype);
  std::vector<std::byte> values(static_cast<size_t>(weight.rows() * row_bytes));
  pool.run([&](int thread, int threads) {
    std::vector<float> row(static_cast<size_t>(cols));
    const auto [first, last] = ThreadPool::share_of(weight.rows(), thread, threads);
    for (int64_t r = first; r < last; ++r) {
      weight.unpack_rows(r, 1, row);
      from_float(dtype, row.data(), row.size(), values.data() + r * row_bytes);
    }
  });
  return {dtype, Bytes(std::move(values))};
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

Matrix Matrix::prepare(const Weight& weight, ThreadPool& pool, const TuningTable* tuning) {
  auto impl = std::make_shared<Impl>();
  impl->rows = weight.rows();
  impl->cols = weight.cols();
  if (auto panels = pack_panels(weight, pool)) {
    impl->layout = panel_layout(panels->panels, impl->cols);
    impl->panels = std::move(panels);
  } else if (auto sparse = pack_sparse_rows(weight, pool)) {
    impl->layout = std::string("sparse rows of ") + (sparse->rows.type == cpu::DenseType::bf16 ? "BF16" : "F16");
    impl->sparse = std::move(sparse);
  } else {
    const auto* dense = std::get_if<Dense>(&weight.base);
    const auto type = dense != nullptr ? dense_type(dense->dtype) : std::nullopt;
    impl->dense = type && !weight.mask ? *dense : spread_out(weight, type ? dense->dtype : Dtype::f32, pool);
    impl->dense_type = type.value_or(cpu::DenseType::f32);
    impl->layout = "rows of " + std::string(name_of(impl->dense.dtype));
  }
  Matrix matrix;
  if (tuning != nullptr) matrix.variants_ = tuning->find({impl->layout, impl->rows, impl->cols, pool.threads()});
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
  if (impl_->panels) return static_cast<uint64_t>(impl_->panels->bytes());
  return impl_->sparse ? static_cast<uint64_t>(impl_->sparse->bytes()) : impl_->dense.data.size();
}
bool Matrix::in_panels() const {
  return impl_->panels.has_value();
}
std::string Matrix::layout() const {
  return impl_->layout;
}

uint64_t prepared_bytes(const WeightForm& form) {
  const auto as_f32 = static_cast<uint64_t>(form.elements()) * sizeof(float);
  const int64_t cols = form.shape.empty() ? 1 : form.shape.back();
  switch (form.kind) {
    case WeightForm::Kind::dense:
      return dense_type(form.dtype) && !(form.masked && form.dtype == Dtype::f32) ? form.bytes() : as_f32;
    case WeightForm::Kind::additive_codes:
      break;
    case WeightForm::Kind::grouped_ints: {
      WeightForm full = form;  // panels have a code for removed weights too
      full.masked = false;
      return form.group % cpu::kBlockCols == 0 || form.group >= cols ? full.bytes() + full.bytes() / 8 : as_f32;
    }
    case WeightForm::Kind::gguf_blocks: {
      // Points of a lattice and FP4 go as indices of 4 bits, up to 5 with their scales; others much as they are, those
      // of two bits and less with more bytes for scales.
      const bool indices = gguf::lattice_type(form.gguf_type->id) != nullptr || form.gguf_type->name.ends_with("FP4");
      const auto elements = static_cast<uint64_t>(form.elements());
      return std::max(form.bytes() + form.bytes() / 8, indices ? elements * 5 / 8 : elements * 2 / 5);
    }
  }
  return as_f32;
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
      const cpu::Variant& how = products[i].matrix->variants().of(x.tokens());
      const int64_t unit = m.panels ? cpu::kPanelRows : 1;
      const auto [first, last] = ThreadPool::share_of((m.rows + unit - 1) / unit, thread, threads);
      if (first == last) continue;
      float* y = products[i].y + first * unit;
      const int64_t stride = products[i].stride;
      void* room = scratch(cpu::panel_room(rows[i].blocks));
      if (m.panels) {
        const auto product = x.precision() == Precision::int8 ? functions.panels_int8 : functions.panels_f32;
        product(m.panels->panels, rows[i], how, first, last, m.rows, y, stride, room);
      } else if (m.sparse) {
        functions.sparse_rows(m.sparse->rows, rows[i], how, first, last, y, stride, room);
      } else {
        functions.dense(m.dense_type, m.dense.data.span().data(), m.cols, rows[i], how, first, last, y, stride);
      }
    }
  });
}

}  // namespace pare
