// Rows of a matrix as blocks of a GGUF type: every number to the nearest point of its block's grid, the grids chosen
// for the least error weighed by importance. What compensates errors (GPTQ) starts from the same grids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "pare/io/ggml_type.h"

namespace pare {

bool can_encode_rows(const GgmlType& type);
// rows: count * cols numbers, cols a multiple of type.block_elements; importance: [cols] (the mean of each input's
// square, as an importance matrix has it) or empty. dst: count * cols / block_elements * block_bytes bytes.
// The same bytes whatever other rows are encoded with them.
void encode_rows(const GgmlType& type, std::span<const float> rows, int64_t cols, std::span<const float> importance,
                 std::span<std::byte> dst);

}  // namespace pare
