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

// Metadata in the order given. Integers are u32 or i32 in the file, wider ones only where the value needs it: that is
// what llama.cpp reads, but for split.no and split.count, which are u16.
using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;

uint64_t gguf_file_bytes(const GgufMetadata& metadata, const std::vector<GgufTensorSpec>& tensors);

// The same while tensors are added.
class GgufSize {
 public:
  explicit GgufSize(const GgufMetadata& metadata);
  void add(const GgufTensorSpec& tensor);
  uint64_t bytes() const;

 private:
  uint64_t header_ = 0, data_ = 0;
};

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
