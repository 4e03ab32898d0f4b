// For tests: memory that ends where a page begins that may not be touched.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pare {

class Guarded {
 public:
  explicit Guarded(size_t bytes) : bytes_(bytes), mapped_((bytes + 4095) / 4096 * 4096 + 4096) {
    memory_ = static_cast<uint8_t*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(memory_ + mapped_ - 4096, 4096, PROT_NONE);
  }
  ~Guarded() { munmap(memory_, mapped_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(memory_ + mapped_ - 4096 - bytes_);
  }

 private:
  size_t bytes_, mapped_;
  uint8_t* memory_;
};

template <class T>
const T* guard(Guarded& room, const T* src, size_t count) {
  std::memcpy(room.as<uint8_t>(), src, count * sizeof(T));
  return room.as<T>();
}

}  // namespace pare
