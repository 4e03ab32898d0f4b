// Memory for packed weights: zeroed, aligned to cache lines, on huge pages where it is large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace pare {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // Pages are taken when first written, by the thread that writes them. std::bad_alloc when there are none.
  enum class Pages { any, small };  // small: memory follows what is written closely
  explicit AlignedBuffer(int64_t bytes, Pages pages = Pages::any);
  ~AlignedBuffer();
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  void swap(AlignedBuffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapped_, other.mapped_);
  }
  uint8_t* data_ = nullptr;
  int64_t size_ = 0;
  size_t mapped_ = 0;
};

}  // namespace pare
