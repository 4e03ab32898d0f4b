// Writes a GGUF v3 file: metadata and tensor list first, then a tensor at a time.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pare/io/gguf.h"

namespace pare {

struct GgufTensorSpec {
  std::string name;
  const GgmlType* type;
  std::vector<int64_t> shape;  // torch's order
};

// Metadata in the order given. Integer width in the file: see gguf_writer.cpp (u32 where the value fits and the key is
// one that llama.cpp reads as u32, which is all of them but a few).
using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;

uint64_t gguf_file_bytes(const GgufMetadata& metadata, const std::vector<GgufTensorSpec>& tensors);

class GgufWriter {
 public:
  GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata, std::vector<GgufTensorSpec> tensors);
  ~GgufWriter();  // without finish(): the file is removed
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;
  void write(const std::string& name, std::span<const std::byte> bytes);
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pare
