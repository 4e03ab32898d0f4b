// How fast this machine's threads read memory: what every product with one token is measured against.
#pragma once

#include <cstdint>

#include "pare/kernels/thread_pool.h"

namespace pare {

// Bytes a second of reading `bytes` from end to end with all threads of the pool, the best of five passes. Larger than
// the last-level cache: of memory; smaller: of that cache.
double read_bandwidth(ThreadPool& pool, int64_t bytes);
// Products of 8-bit codes with 8-bit activations a second, all threads, from registers: the ceiling of int8 products.
double int8_peak(ThreadPool& pool);
int64_t last_level_cache_bytes();  // 0 where the system does not tell

}  // namespace pare
