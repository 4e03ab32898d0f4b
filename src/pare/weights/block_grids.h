// GGUF blocks that are plain grids in other bytes, and grids as such blocks: the same values either way.
//
//   Q4_0 Q5_0 Q8_0   d * level, level in -8..7, -16..15, -128..127; groups of 32
//   TQ1_0 TQ2_0      d * level, level in -1..1; groups of 256
//   IQ4_NL MXFP4     d * level, level one of 16 in -127..113 or in -12..12: read as grids of 8 and 5 bits in groups of
//   32 Q4_1 Q5_1        d * code + m: a grid with zero points becomes one where scale * zero is a number of f16; the
//   other
//                    way there is none, m being no multiple of d
//
// A group of 64 or 128 is several blocks with the same scale. Scales of any type go where f16 holds each of them.
#pragma once

#include <optional>

#include "pare/weights/weight.h"
#include "pare/weights/weight_form.h"

namespace pare {

// Blocks that are a grid of integers.
bool is_plain_grid(const WeightForm& form);
WeightForm grid_form(const WeightForm& blocks);
Weight grid_of(const Weight& blocks);

// Integers as blocks of one of the seven types; removed weights become the code of zero. Nothing where a value, scale
// or grouping has no place in them.
std::optional<Weight> exact_blocks(const Weight& ints, const GgmlType& type);
// The smallest of them that holds these; nothing when none does.
const GgmlType* exact_block_type(const Weight& ints);

}  // namespace pare
