// What a product should take, from how many bytes it reads, how many instructions it runs and which caches hold what
// it reads again: enough to say which variants are worth measuring (QIGen, arXiv:2307.03738, section 3, has the same
// split: a model for the caches, a search for what the model does not see).
#pragma once

#include <cstdint>

#include "pare/kernels/matrix.h"

namespace pare {

// Measured once, all threads together.
struct MachineSpeed {
  int threads = 1;
  double memory = 0;                                   // bytes a second from memory,
  double last_cache = 0;                               // from the last-level cache,
  double near_cache = 0;                               // and from the second-level cache
  double dots = 0;                                     // steps of 64 products a second, from registers
  int64_t last_cache_bytes = 0, near_cache_bytes = 0;  // of a thread: its share of the last level; its second level
};
MachineSpeed measure_machine(ThreadPool& pool);  // about two seconds

// Seconds of a product with `tokens` tokens in int8, the weight not in any cache before.
double predicted_seconds(const Matrix& matrix, int64_t tokens, const cpu::Variant& how, const MachineSpeed& speed);

}  // namespace pare
