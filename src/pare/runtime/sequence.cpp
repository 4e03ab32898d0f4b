#include "pare/runtime/sequence.h"

#include <algorithm>
#include <cstring>

#include "pare/base/error.h"

namespace pare {
namespace {

constexpr int64_t kPageBytes = 4096;

int64_t value_bytes(CacheType type) {
  return type == CacheType::int8 ? 1 : 2;
}

// Pages under the first `used` bytes of each of `count` places that lie `stride` bytes apart, from a page's beginning.
int64_t pages_under(int64_t used, int64_t stride, int64_t count) {
  int64_t pages = 0, counted = 0;  // pages before `counted` are in already
  for (int64_t i = 0; i < count && used > 0; ++i) {
    const int64_t first = std::max(counted, i * stride / kPageBytes);
    const int64_t end = (i * stride + used + kPageBytes - 1) / kPageBytes;
    pages += std::max<int64_t>(0, end - first);
    counted = std::max(counted, end);
  }
  return pages;
}

}  // namespace

uint64_t CacheShape::bytes(int64_t tokens) const {
  const int64_t size = value_bytes(type), positions = padded_capacity(), blocks = (tokens + 15) / 16 * 16;
  const auto pages = [&](int64_t used, int64_t each) { return pages_under(used * each, positions * each, kv_heads); };
  int64_t of_layer = pages(blocks, dim * size) + pages(tokens, padded_dim() * size);
  if (type == CacheType::int8) of_layer += pages(blocks, sizeof(float)) + pages(tokens, sizeof(float));
  return static_cast<uint64_t>(layers * of_layer * kPageBytes);
}

uint64_t CacheShape::bytes_per_token() const {
  const int64_t scales = type == CacheType::int8 ? 2 * static_cast<int64_t>(sizeof(float)) : 0;
  return static_cast<uint64_t>(layers * kv_heads * ((dim + padded_dim()) * value_bytes(type) + scales));
}

Sequence::Impl::Impl(const CacheShape& cache_shape) : shape(cache_shape) {
  const int64_t positions = shape.padded_capacity() * shape.kv_heads, size = value_bytes(shape.type);
  for (int64_t i = 0; i < shape.layers; ++i) {
    keys.emplace_back(positions * shape.dim * size, AlignedBuffer::Pages::small);
    values.emplace_back(positions * shape.padded_dim() * size, AlignedBuffer::Pages::small);
    if (shape.type != CacheType::int8) continue;
    key_scales.emplace_back(positions * static_cast<int64_t>(sizeof(float)), AlignedBuffer::Pages::small);
    value_scales.emplace_back(positions * static_cast<int64_t>(sizeof(float)), AlignedBuffer::Pages::small);
  }
}

cpu::KeyValues Sequence::Impl::layer(int64_t index, int64_t head) const {
  const auto i = static_cast<size_t>(index);
  const int64_t positions = shape.padded_capacity() * head, size = value_bytes(shape.type);
  cpu::KeyValues result;
  result.int8 = shape.type == CacheType::int8;
  result.dim = shape.dim;
  result.padded_dim = shape.padded_dim();
  // The kernels that write get the same struct as those that read.
  const auto at = [](const AlignedBuffer& buffer, int64_t bytes) {
    return const_cast<uint8_t*>(buffer.data()) + bytes;
  };
  result.keys = at(keys[i], positions * shape.dim * size);
  result.values = at(values[i], positions * result.padded_dim * size);
  if (result.int8) {
    result.key_scales = reinterpret_cast<float*>(at(key_scales[i], 0)) + positions;
    result.value_scales = reinterpret_cast<float*>(at(value_scales[i], 0)) + positions;
  }
  return result;
}

Sequence::Sequence(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sequence::~Sequence() = default;

int64_t Sequence::length() const {
  return impl_->length;
}

int64_t Sequence::capacity() const {
  return impl_->shape.capacity;
}

void Sequence::truncate(int64_t length) {
  PARE_ASSERT(length >= 0 && length <= impl_->length);
  impl_->longest = std::max(impl_->longest, impl_->length);
  impl_->length = length;
}

uint64_t Sequence::bytes() const {
  return impl_->shape.bytes(std::max(impl_->length, impl_->longest));
}

std::unique_ptr<Sequence> Sequence::fork(int64_t length) const {
  PARE_ASSERT(length >= 0 && length <= impl_->length);
  auto copy = std::make_unique<Impl>(impl_->shape);
  copy->length = length;
  const int64_t size = value_bytes(impl_->shape.type), blocks = (length + 15) / 16 * 16;
  for (int64_t i = 0; i < impl_->shape.layers; ++i) {
    for (int64_t head = 0; head < impl_->shape.kv_heads; ++head) {
      const cpu::KeyValues from = impl_->layer(i, head), to = copy->layer(i, head);
      const auto bytes = [](int64_t count) { return static_cast<size_t>(count); };
      std::memcpy(to.keys, from.keys, bytes(blocks * from.dim * size));
      std::memcpy(to.values, from.values, bytes(length * from.padded_dim * size));
      if (from.int8) {
        std::memcpy(to.key_scales, from.key_scales, bytes(blocks) * sizeof(float));
        std::memcpy(to.value_scales, from.value_scales, bytes(length) * sizeof(float));
      }
    }
  }
  return std::make_unique<Sequence>(std::move(copy));
}

}  // namespace pare
