// Rotary positions: pairs (i, i + head_dim / 2) of each head turn by position * frequency[i] (split-half, "NeoX"
// style).
#pragma once

#include <ATen/ATen.h>

#include "pare/weights/decoder_config.h"

namespace pare {

struct RotaryTable {
  at::Tensor cos, sin;  // [length, head_dim / 2] f32, yarn's attention factor multiplied in
};

// Angles in f32, as transformers computes them.
RotaryTable rotary_table(const Rope& rope, int64_t head_dim, int64_t length);

// x [tokens, heads, head_dim] contiguous, f32 or bf16, turned in place. Sequences of the table's length lie one after
// the other: token i of x stands at position (first + i) mod length.
void rotate_(at::Tensor x, const RotaryTable& table, int64_t first);

}  // namespace pare
