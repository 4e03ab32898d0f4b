// From a Weight to panels (cpu/function_table.h): what is done once, when a model is loaded.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "pare/kernels/aligned_buffer.h"
#include "pare/kernels/cpu/function_table.h"
#include "pare/kernels/thread_pool.h"
#include "pare/weights/weight.h"

namespace pare {

struct PackedPanels {
  cpu::Panels panels;  // points into `memory`
  AlignedBuffer memory, kept;
  std::vector<int64_t> kept_start;
  int64_t bytes() const { return memory.size() + kept.size(); }
  std::vector<int32_t> order;  // panel column c is the weight's column order[c]; empty: as they are
};

// Nothing when the weight is dense, or its groups do not lie in blocks of 32 columns, even reordered.
std::optional<PackedPanels> pack_panels(const Weight& weight, ThreadPool& pool);

}  // namespace pare
