// Scales and zeros of the groups of one strip of rows (strips.h), sixteen rows at a time.
#pragma once

#include <cstdint>

#include "pare/base/simd.h"
#include "pare/quantize/grid.h"

namespace pare {

// How scales are stored: `bits` significant bits, and f16's range where that is the type.
struct ScaleRounding {
  int bits = 11;
  bool f16 = true;
};

struct GridShape {
  float maxq = 15;
  bool symmetric = true;  // also ternary
  bool ternary = false;
  bool move_zero = false;  // the search also tries the zeros beside the ideal one
  bool search = true;
  ScaleRounding rounding;

  explicit GridShape(const GridOptions& options);
  float fixed_zero() const { return ternary ? 1.0f : (maxq + 1) / 2; }
};

// One group: `columns` columns of the strip from `values` on. importance [columns] or null (all ones).
// scale, zero: [width] of the strip.
void fit_group(const GridShape& shape, const float* values, int64_t width, int64_t columns, const float* importance,
               float* scale, float* zero, simd::Level level = simd::best_level());

// q = scale * steps of one column of 16 rows.
void round_tile(const float* w, const float* scale, const float* zero, float maxq, float* q);

}  // namespace pare
