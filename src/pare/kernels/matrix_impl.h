// What a Matrix holds; for the files of this folder that look inside.
#pragma once

#include <optional>
#include <string>

#include "pare/kernels/matrix.h"
#include "pare/kernels/panel_pack.h"
#include "pare/kernels/sparse_rows.h"

namespace pare {

struct Matrix::Impl {
  int64_t rows = 0, cols = 0;
  std::string layout;
  // One of these three.
  std::optional<PackedPanels> panels;
  std::optional<PackedSparseRows> sparse;
  Dense dense;  // row after row
  cpu::DenseType dense_type = cpu::DenseType::f32;
};

}  // namespace pare
