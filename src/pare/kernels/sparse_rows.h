// From a masked dense Weight to sparse rows (cpu/function_table.h).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "pare/kernels/aligned_buffer.h"
#include "pare/kernels/cpu/function_table.h"
#include "pare/kernels/thread_pool.h"
#include "pare/weights/weight.h"

namespace pare {

struct PackedSparseRows {
  cpu::SparseRows rows;  // points into what follows
  AlignedBuffer masks, kept;
  std::vector<int64_t> row_start;
  int64_t bytes() const { return masks.size() + kept.size(); }
};

// Nothing unless the weight is f16 or bf16, masked, and reads clearly fewer bytes this way.
std::optional<PackedSparseRows> pack_sparse_rows(const Weight& weight, ThreadPool& pool);

}  // namespace pare
