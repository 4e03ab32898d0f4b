// The block types of GGUF tensors: their ids, names and sizes. What is inside a block: weights/gguf_blocks.h.
#pragma once

#include <cstdint>
#include <string_view>

namespace pare {

struct GgmlType {
  uint32_t id;
  std::string_view name;   // "Q4_K", as llama.cpp's users write it
  int64_t block_elements;  // along a row
  int64_t block_bytes;

  double bits_per_weight() const {
    return 8.0 * static_cast<double>(block_bytes) / static_cast<double>(block_elements);
  }
};

const GgmlType* ggml_type(uint32_t id);  // nothing for retired and unknown ids
const GgmlType* ggml_type_named(std::string_view name);

}  // namespace pare
