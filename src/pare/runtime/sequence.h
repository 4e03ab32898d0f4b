// The cache behind a Sequence: keys and values of every layer.
#pragma once

#include <cstdint>
#include <vector>

#include "pare/kernels/aligned_buffer.h"
#include "pare/kernels/cpu/function_table.h"
#include "pare/runtime/model.h"

namespace pare {

struct CacheShape {
  int64_t layers = 0, kv_heads = 0, dim = 0, capacity = 0;
  CacheType type = CacheType::f16;

  int64_t padded_dim() const { return (dim + 15) / 16 * 16; }
  int64_t padded_capacity() const { return (capacity + 15) / 16 * 16; }
  uint64_t bytes_per_token() const;
  // Memory that so many tokens take: whole pages, since every head of every layer has its own place. A short sequence
  // takes many times bytes_per_token().
  uint64_t bytes(int64_t tokens) const;
};

struct Sequence::Impl {
  explicit Impl(const CacheShape& cache_shape);
  cpu::KeyValues layer(int64_t index, int64_t head) const;

  CacheShape shape;
  int64_t length = 0;
  int64_t longest = 0;  // that it was before it was truncated: those pages stay
  // Addresses for the whole capacity; memory comes with the pages that are written.
  std::vector<AlignedBuffer> keys, values, key_scales, value_scales;  // [layers], each [kv_heads][...]
};

}  // namespace pare
