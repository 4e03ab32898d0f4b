// safetensors: named tensors in one file, readable in place.
//
//   u64 N | N bytes of JSON, maybe padded with spaces | data; each tensor is data[begin, end)
//   {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {"format": "pt"}}
//
// Little-endian, row-major. The reader believes nothing: header size against file size, UTF-8, JSON without duplicate
// keys, plain non-negative integers, shape x dtype = bytes with checked products, offsets contiguous from 0 to the end
// of the file without holes or overlaps. All of it is checked before the first tensor is handed out; each fault has a
// message of its own, with the file's name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pare/io/dtype.h"
#include "pare/io/mapped_file.h"

namespace pare {

struct TensorInfo {
  std::string name;
  std::string dtype_name;      // as the file spells it
  std::optional<Dtype> dtype;  // nothing: a type that Pare lists but does not load (F4, C64 ...)
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes within the data section
  uint64_t bytes() const { return end - begin; }
};

// What the header says, checked against `file_bytes`. `where` names the file in messages. Throws InputError.
struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in data order
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  // byte of the file at which the data section starts
};
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& where);

class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::filesystem::path& path);

  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const std::filesystem::path& path() const { return file_->path(); }
  const TensorInfo* find(const std::string& name) const;
  std::span<const std::byte> bytes(const TensorInfo& tensor) const;  // in place; alignment is not promised
  void release(const TensorInfo& tensor) const;
  const std::shared_ptr<const MappedFile>& mapping() const { return file_; }  // keeps `bytes` valid

 private:
  std::shared_ptr<const MappedFile> file_;
  SafetensorsHeader header_;
  std::map<std::string, size_t> by_name_;
};

}  // namespace pare
