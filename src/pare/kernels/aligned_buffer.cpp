#include "pare/kernels/aligned_buffer.h"

#include <sys/mman.h>

#include <new>

namespace pare {

AlignedBuffer::AlignedBuffer(int64_t bytes, Pages pages) : size_(bytes) {
  if (bytes == 0) return;
  constexpr size_t page = 4096, huge = size_t{2} << 20;
  const auto wanted = static_cast<size_t>(bytes);
  mapped_ = (wanted + page - 1) / page * page;
  void* memory = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<uint8_t*>(memory);
#if defined(MADV_HUGEPAGE)
  // One page in the processor's table instead of 512. Not for small ones: the last huge page is only partly used.
  if (mapped_ >= 4 * huge) madvise(memory, mapped_, pages == Pages::any ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#endif
}

AlignedBuffer::~AlignedBuffer() {
  if (data_ != nullptr) munmap(data_, mapped_);
}

}  // namespace pare
