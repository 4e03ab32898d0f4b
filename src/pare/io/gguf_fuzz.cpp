#include <cstddef>
#include <cstdint>

#include "pare/base/error.h"
#include "pare/io/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto header = pare::parse_gguf_header({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
    for (const auto& tensor : header.tensors) PARE_ASSERT(header.data_begin + tensor.offset + tensor.bytes <= size);
  } catch (const pare::Error&) {
  }
  return 0;
}
