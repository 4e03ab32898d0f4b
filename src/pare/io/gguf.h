// GGUF v2 and v3: metadata and tensors in one file. Only the container: names and bytes as they stand in the file.
//
//   "GGUF" | u32 version | u64 tensor_count | u64 kv_count | kv_count x {string key | u32 type | value}
//   | tensor_count x {string name | u32 n_dims | u64 dims[n_dims] | u32 type | u64 offset} | padding | data
//
// dims[0] runs fastest: a torch weight [out, in] has dims {in, out}; `GgufTensor::shape` is in torch's order.
// Hostile-input rules: every count is compared with the bytes left before anything is allocated; strings and arrays are
// bounded by the file; keys and names unique and non-empty; alignment a power of two, 8 bytes to 1 MiB; dims positive,
// products checked; each offset the running sum of the sizes before it, padded; the data ends within the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "pare/io/ggml_type.h"
#include "pare/io/mapped_file.h"

namespace pare {

struct GgufArray;
using GgufValue = std::variant<bool, int64_t, uint64_t, double, std::string, GgufArray>;  // integers widened by sign

struct GgufArray {
  std::variant<std::vector<bool>, std::vector<int64_t>, std::vector<uint64_t>, std::vector<double>,
               std::vector<std::string>>
      items;

  bool operator==(const GgufArray&) const = default;
};

struct GgufTensor {
  std::string name;
  uint32_t type_id = 0;            // as in the file
  const GgmlType* type = nullptr;  // nothing: a type that Pare lists but does not decode
  std::vector<int64_t> shape;      // torch's order, slowest first
  uint64_t offset = 0;             // within the data section
  uint64_t bytes = 0;
};

struct GgufHeader {
  uint32_t version = 0;
  std::map<std::string, GgufValue> metadata;
  std::vector<GgufTensor> tensors;  // in file order
  uint64_t alignment = 32;
  uint64_t data_begin = 0;
};
GgufHeader parse_gguf_header(std::span<const std::byte> file, const std::string& where);

class GgufFile {
 public:
  static GgufFile open(const std::filesystem::path& path);

  const GgufHeader& header() const { return header_; }
  const std::filesystem::path& path() const { return file_->path(); }
  const GgufTensor* find(const std::string& name) const;
  std::span<const std::byte> bytes(const GgufTensor& tensor) const;
  void release(const GgufTensor& tensor) const;
  const std::shared_ptr<const MappedFile>& mapping() const { return file_; }  // keeps `bytes` valid

  // Metadata with the type that the caller needs; InputError naming file and key when absent (without a default) or
  // of another type. Any integer type serves where an integer is asked for; f32 and f64 for a double.
  std::string text(const std::string& key) const;
  int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;
  bool has(const std::string& key) const;
  std::vector<std::string> texts(const std::string& key) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  GgufHeader header_;
  std::map<std::string, size_t> by_name_;
};

}  // namespace pare
