// The grids of a whole weight in one of GGUF's block types (weights/encode/scalar_type.h and lattice_code.h), and the
// weight rounded to them, on their way through a solver.
//
// Rows come last: [..., rows up to a multiple of 16], so that a step reads one vector for sixteen rows.
#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "pare/weights/encode/lattice_code.h"
#include "pare/weights/encode/scalar_type.h"
#include "pare/weights/weight.h"

namespace pare {

// How a type cuts a row: into blocks, these into sub-blocks with a scale each, these into the numbers that one code
// names together.
struct GgufLayout {
  const ScalarType* scalar = nullptr;
  const LatticeCode* lattice = nullptr;  // one of the two
  int64_t block = 0, sub = 0, group = 1;

  int64_t subs() const { return block / sub; }
  bool has_offset() const { return scalar != nullptr && scalar->has_offset(); }
};
// Nothing for a type that Pare does not round to.
std::optional<GgufLayout> gguf_layout(const GgmlType& ggml);

struct GgufGrid {
  const GgmlType* ggml = nullptr;
  GgufLayout layout;
  int64_t rows = 0, columns = 0;
  at::Tensor d, dmin;  // [blocks of a row, rows]
  at::Tensor sc, mn;   // [sub-blocks of a row, rows]; of lattices sc with its unit, and mn the shift

  int64_t padded() const { return d.size(1); }
  int64_t blocks() const { return columns / layout.block; }
  int64_t subs() const { return columns / layout.sub; }
};

// How numbers are weighed while scales are chosen.
enum class FitWeights {
  importance,          // by their column's: what an error costs in a walk
  importance_and_size  // also by their size (rounding_weights of weights/encode/scalar_fit.h), for rounding each by
                       // itself
};
// weight [out, in] f32, in a multiple of the type's block; importance [in] f32 or undefined (all ones).
GgufGrid fit_gguf_grid(const at::Tensor& weight, const at::Tensor& importance, const GgmlType& ggml,
                       FitWeights weights);

// Each number to its nearest point, [out, in] f32; groups of a lattice weighed by importance, as in fit_gguf_grid.
at::Tensor round_to(const GgufGrid& grid, const at::Tensor& weight, const at::Tensor& importance = {},
                    FitWeights weights = FitWeights::importance);
// The rows where `mask` [out] is true become those of `from`.
void take_rows(GgufGrid& into, const GgufGrid& from, const at::Tensor& mask);
// `values` [out, in] on the grid, as blocks.
Weight to_blocks(const GgufGrid& grid, const at::Tensor& values);

}  // namespace pare
