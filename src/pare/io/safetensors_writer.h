// Writes one safetensors file, a tensor at a time, in the order that was announced.
//
// The header comes first in the file, so shapes and types are announced before any data: `SafetensorsWriter` takes the
// list, lays the tensors out in that order (padding the JSON so that the data section starts on 64 bytes), reserves the
// space on disk at once (a full disk shows here) and then takes the bytes. Memory: nothing but the header.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pare/io/dtype.h"

namespace pare {

struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape;
};

// The exact size of the file that these tensors make, without writing it.
uint64_t safetensors_file_bytes(const std::vector<TensorSpec>& tensors,
                                const std::map<std::string, std::string>& metadata);

class SafetensorsWriter {
 public:
  // Metadata gets {"format": "pt"} besides, which transformers has insisted on. Throws ResourceError with path, need
  // and free space when the disk is too small.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                    std::map<std::string, std::string> metadata = {});
  ~SafetensorsWriter();  // without finish(): the file is removed
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // Any order; each announced tensor once, with exactly its bytes.
  void write(const std::string& name, std::span<const std::byte> bytes);
  // Every tensor must have come. fsync, close; all checked.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pare
