// Tensors as a file holds them: what the layout functions read from and give to a writer.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "pare/io/dtype.h"

namespace pare {

// In place in a file; any alignment.
struct StoredView {
  std::string name;  // for messages
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape;
  std::span<const std::byte> data;

  template <class T>
  T item(int64_t index) const {
    T value;
    std::memcpy(&value, data.data() + static_cast<size_t>(index) * sizeof(T), sizeof(T));
    return value;
  }
};

// Ready to be written; dtype and shape are those that the layout's `*_tensors` announced under this name.
struct StoredTensor {
  std::string name;
  std::vector<std::byte> data;
};

// Throws InputError naming the tensor when dtype, shape or bytes are not these. A dimension of -1 may be anything.
void expect_stored(const StoredView& view, std::initializer_list<Dtype> dtypes, std::span<const int64_t> shape);
inline void expect_stored(const StoredView& view, std::initializer_list<Dtype> dtypes,
                          std::initializer_list<int64_t> shape) {
  expect_stored(view, dtypes, std::span(shape.begin(), shape.size()));
}
std::string shape_text(std::span<const int64_t> shape);  // "[576, 72]"

}  // namespace pare
