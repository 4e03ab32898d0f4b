#include "pare/io/gguf.h"

#include <bit>
#include <cstring>
#include <set>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/io/gguf_value_type.h"

namespace pare {
namespace {

using gguf::ValueType;
using enum ValueType;

constexpr uint64_t kMaxAlignment = 1 << 20, kMaxText = 1 << 30, kMaxKey = 65535, kMaxTensorName = 1024;
constexpr uint64_t kSmallestPair = 13, kSmallestTensor = 24;  // bytes of the shortest possible key and tensor entry

// Walks the file's bytes; every step is checked against what is left before anything is allocated.
class Cursor {
 public:
  Cursor(std::span<const std::byte> file, const std::string& where) : file_(file), where_(where) {}

  uint64_t position() const { return at_; }
  uint64_t left() const { return file_.size() - at_; }
  [[noreturn]] void fail(const std::string& what) const { throw InputError(where_ + ": " + what); }

  template <class T>
  T number(const std::string& what) {
    if (left() < sizeof(T)) fail("the file ends within " + what + ". Download cut short?");
    T value;
    std::memcpy(&value, file_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  std::string text(const std::string& what, uint64_t limit) {
    const auto length = number<uint64_t>("the length of " + what);
    if (length > limit)
      fail(what + " is said to be " + std::to_string(length) + " bytes long, at most " + std::to_string(limit) +
           " are allowed");
    if (length > left())
      fail(what + " is said to be " + std::to_string(length) + " bytes long, the file has " + std::to_string(left()) +
           " left. Download cut short?");
    std::string value(reinterpret_cast<const char*>(file_.data() + at_), length);
    at_ += length;
    return value;
  }

 private:
  std::span<const std::byte> file_;
  const std::string& where_;
  uint64_t at_ = 0;
};

uint64_t size_of_value(uint32_t type) {
  switch (type) {
    case u8:
    case i8:
    case boolean:
      return 1;
    case u16:
    case i16:
      return 2;
    case u32:
    case i32:
    case f32:
      return 4;
    case u64:
    case i64:
    case f64:
      return 8;
    case text:
      return 8;
    default:
      return 0;
  }
}

bool read_bool(Cursor& cursor, const std::string& what) {
  const auto value = cursor.number<uint8_t>(what);
  if (value > 1) cursor.fail(what + " is a bool with the value " + std::to_string(value));
  return value != 0;
}
int64_t read_signed(Cursor& cursor, uint32_t type, const std::string& what) {
  switch (type) {
    case i8:
      return cursor.number<int8_t>(what);
    case i16:
      return cursor.number<int16_t>(what);
    case i32:
      return cursor.number<int32_t>(what);
    default:
      return cursor.number<int64_t>(what);
  }
}
uint64_t read_unsigned(Cursor& cursor, uint32_t type, const std::string& what) {
  switch (type) {
    case u8:
      return cursor.number<uint8_t>(what);
    case u16:
      return cursor.number<uint16_t>(what);
    case u32:
      return cursor.number<uint32_t>(what);
    default:
      return cursor.number<uint64_t>(what);
  }
}
double read_double(Cursor& cursor, uint32_t type, const std::string& what) {
  return type == f32 ? static_cast<double>(cursor.number<float>(what)) : cursor.number<double>(what);
}

template <class T, class Read>
GgufArray read_items(uint64_t count, const Read& read) {
  std::vector<T> items;
  items.reserve(count);
  for (uint64_t i = 0; i < count; ++i) items.push_back(read());
  return {std::move(items)};
}

GgufArray read_array(Cursor& cursor, const std::string& key) {
  const auto type = cursor.number<uint32_t>(key + "'s element type");
  const auto count = cursor.number<uint64_t>(key + "'s length");
  if (type == array) cursor.fail(key + " is an array of arrays, which is not supported");
  const uint64_t least = size_of_value(type);
  if (least == 0) cursor.fail(key + " is an array of the unknown type " + std::to_string(type));
  if (count > cursor.left() / least) {
    cursor.fail(key + " is said to hold " + std::to_string(count) + " elements, the file has " +
                std::to_string(cursor.left()) + " bytes left. Download cut short?");
  }
  switch (type) {
    case boolean:
      return read_items<bool>(count, [&] { return read_bool(cursor, key); });
    case text:
      return read_items<std::string>(count, [&] { return cursor.text(key, kMaxText); });
    case f32:
    case f64:
      return read_items<double>(count, [&] { return read_double(cursor, type, key); });
    case i8:
    case i16:
    case i32:
    case i64:
      return read_items<int64_t>(count, [&] { return read_signed(cursor, type, key); });
    default:
      return read_items<uint64_t>(count, [&] { return read_unsigned(cursor, type, key); });
  }
}

GgufValue read_value(Cursor& cursor, const std::string& key) {
  const auto type = cursor.number<uint32_t>(key + "'s type");
  switch (type) {
    case boolean:
      return read_bool(cursor, key);
    case text:
      return cursor.text(key, kMaxText);
    case array:
      return read_array(cursor, key);
    case f32:
    case f64:
      return read_double(cursor, type, key);
    case i8:
    case i16:
    case i32:
    case i64:
      return read_signed(cursor, type, key);
    case u8:
    case u16:
    case u32:
    case u64:
      return read_unsigned(cursor, type, key);
    default:
      cursor.fail(key + " has the unknown type " + std::to_string(type));
  }
}

GgufTensor read_tensor(Cursor& cursor) {
  GgufTensor tensor;
  tensor.name = cursor.text("a tensor's name", kMaxTensorName);
  if (tensor.name.empty()) cursor.fail("a tensor has no name");
  const auto rank = cursor.number<uint32_t>(tensor.name + "'s rank");
  if (rank > 4) cursor.fail(tensor.name + ": rank " + std::to_string(rank) + ", at most 4 is allowed");
  tensor.shape.resize(rank);
  for (uint32_t i = 0; i < rank; ++i) {
    const auto dim = cursor.number<uint64_t>(tensor.name + "'s dimensions");
    if (dim == 0) cursor.fail(tensor.name + ": dimension " + std::to_string(i) + " is zero");
    if (dim > static_cast<uint64_t>(INT64_MAX))
      cursor.fail(tensor.name + ": dimension " + std::to_string(i) + " does not fit 63 bits");
    tensor.shape[rank - 1 - i] = static_cast<int64_t>(dim);
  }
  const auto elements = checked_product(std::span<const int64_t>(tensor.shape));
  if (!elements) cursor.fail(tensor.name + ": its shape has more elements than fit 64 bits");
  tensor.type_id = cursor.number<uint32_t>(tensor.name + "'s type");
  tensor.offset = cursor.number<uint64_t>(tensor.name + "'s offset");
  tensor.type = ggml_type(tensor.type_id);
  if (tensor.type == nullptr) cursor.fail(tensor.name + ": unknown or retired type " + std::to_string(tensor.type_id));
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (row % tensor.type->block_elements != 0) {
    cursor.fail(tensor.name + ": rows of " + std::to_string(row) + " are not whole blocks of " +
                std::to_string(tensor.type->block_elements) + " (" + std::string(tensor.type->name) + ")");
  }
  const auto bytes = checked_mul(*elements / tensor.type->block_elements, tensor.type->block_bytes);
  if (!bytes) cursor.fail(tensor.name + ": more bytes than fit 64 bits");
  tensor.bytes = static_cast<uint64_t>(*bytes);
  return tensor;
}

void check_alignment(GgufHeader& header, const Cursor& cursor) {
  const auto found = header.metadata.find("general.alignment");
  if (found == header.metadata.end()) return;
  const auto* value = std::get_if<uint64_t>(&found->second);
  if (value == nullptr) cursor.fail("general.alignment is not an unsigned integer");
  if (!std::has_single_bit(*value) || *value < 8 || *value > kMaxAlignment) {
    cursor.fail("general.alignment is " + std::to_string(*value) + ", expected a power of two from 8 to " +
                std::to_string(kMaxAlignment));
  }
  header.alignment = *value;
}

void check_layout(GgufHeader& header, uint64_t file_bytes, uint64_t metadata_end, const Cursor& cursor) {
  const auto padded = [&](uint64_t bytes) {
    const auto raised = checked_add(bytes, header.alignment - 1);
    if (!raised) cursor.fail("offsets do not fit 64 bits");
    return *raised / header.alignment * header.alignment;
  };
  header.data_begin = padded(metadata_end);
  if (!header.tensors.empty() && header.data_begin > file_bytes)
    cursor.fail("the file ends before its data section. Download cut short?");
  uint64_t expected = 0, end = 0;
  for (const GgufTensor& tensor : header.tensors) {
    if (tensor.offset != expected) {
      cursor.fail(tensor.name + ": offset " + std::to_string(tensor.offset) + ", the tensors before it end at " +
                  std::to_string(expected));
    }
    const auto stop = checked_add(tensor.offset, tensor.bytes);
    if (!stop) cursor.fail(tensor.name + ": its end does not fit 64 bits");
    end = *stop;
    expected = padded(end);
  }
  if (!header.tensors.empty() && end > file_bytes - header.data_begin) {
    cursor.fail("header says " + std::to_string(end) + " bytes of data, the file has " +
                std::to_string(file_bytes - header.data_begin) + ". Download cut short?");
  }
}

}  // namespace

GgufHeader parse_gguf_header(std::span<const std::byte> file, const std::string& where) {
  Cursor cursor(file, where);
  if (file.size() < 4 || std::memcmp(file.data(), "GGUF", 4) != 0)
    cursor.fail("does not begin with \"GGUF\". Is this a GGUF file?");
  cursor.number<uint32_t>("the magic");
  GgufHeader header;
  header.version = cursor.number<uint32_t>("the version");
  if (header.version == 1)
    throw UnsupportedError(where + ": GGUF version 1; convert it with a llama.cpp of 2023 or later");
  if (header.version != 2 && header.version != 3) {
    const bool swapped = header.version == 0x02000000 || header.version == 0x03000000;
    throw UnsupportedError(where + ": GGUF version " + std::to_string(header.version) +
                           (swapped ? " (big-endian)" : "") + ", this Pare reads 2 and 3, little-endian");
  }
  const auto tensors = cursor.number<uint64_t>("the number of tensors");
  const auto pairs = cursor.number<uint64_t>("the number of metadata entries");
  if (pairs > cursor.left() / kSmallestPair)
    cursor.fail(std::to_string(pairs) + " metadata entries do not fit into the file. Download cut short?");
  for (uint64_t i = 0; i < pairs; ++i) {
    std::string key = cursor.text("a metadata key", kMaxKey);
    if (key.empty()) cursor.fail("a metadata key is empty");
    if (header.metadata.contains(key)) cursor.fail("metadata key " + key + " appears twice");
    GgufValue value = read_value(cursor, key);
    header.metadata.emplace(std::move(key), std::move(value));
  }
  check_alignment(header, cursor);
  if (tensors > cursor.left() / kSmallestTensor)
    cursor.fail(std::to_string(tensors) + " tensors do not fit into the file. Download cut short?");
  std::set<std::string> names;
  header.tensors.reserve(tensors);
  for (uint64_t i = 0; i < tensors; ++i) {
    header.tensors.push_back(read_tensor(cursor));
    if (!names.insert(header.tensors.back().name).second)
      cursor.fail("tensor " + header.tensors.back().name + " appears twice");
  }
  check_layout(header, file.size(), cursor.position(), cursor);
  return header;
}

GgufFile GgufFile::open(const std::filesystem::path& path) {
  GgufFile result;
  result.file_ = MappedFile::open(path);
  result.header_ = parse_gguf_header(result.file_->bytes(), path.string());
  for (size_t i = 0; i < result.header_.tensors.size(); ++i) result.by_name_[result.header_.tensors[i].name] = i;
  return result;
}

const GgufTensor* GgufFile::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &header_.tensors[found->second];
}

std::span<const std::byte> GgufFile::bytes(const GgufTensor& tensor) const {
  file_->check_not_shrunk();
  return file_->bytes().subspan(header_.data_begin + tensor.offset, tensor.bytes);
}

void GgufFile::release(const GgufTensor& tensor) const {
  file_->release(file_->bytes().subspan(header_.data_begin + tensor.offset, tensor.bytes));
}

namespace {

const GgufValue& value_of(const GgufFile& file, const std::string& key) {
  const auto found = file.header().metadata.find(key);
  if (found == file.header().metadata.end())
    throw InputError(file.path().string() + ": no " + key + " in its metadata");
  return found->second;
}

}  // namespace

bool GgufFile::has(const std::string& key) const {
  return header_.metadata.contains(key);
}

std::string GgufFile::text(const std::string& key) const {
  if (const auto* value = std::get_if<std::string>(&value_of(*this, key))) return *value;
  throw InputError(path().string() + ": " + key + " is not a string");
}

int64_t GgufFile::integer(const std::string& key) const {
  const GgufValue& value = value_of(*this, key);
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  if (const auto* number = std::get_if<uint64_t>(&value)) {
    if (*number > static_cast<uint64_t>(INT64_MAX))
      throw InputError(path().string() + ": " + key + " is " + std::to_string(*number) + ", too large");
    return static_cast<int64_t>(*number);
  }
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? 1 : 0;
  throw InputError(path().string() + ": " + key + " is not an integer");
}

double GgufFile::number(const std::string& key) const {
  if (const auto* value = std::get_if<double>(&value_of(*this, key))) return *value;
  return static_cast<double>(integer(key));
}

std::vector<std::string> GgufFile::texts(const std::string& key) const {
  if (const auto* list = std::get_if<GgufArray>(&value_of(*this, key))) {
    if (const auto* items = std::get_if<std::vector<std::string>>(&list->items)) return *items;
  }
  throw InputError(path().string() + ": " + key + " is not an array of strings");
}

}  // namespace pare
