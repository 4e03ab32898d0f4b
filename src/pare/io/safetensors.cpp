#include "pare/io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "pare/base/checked.h"
#include "pare/base/error.h"

namespace pare {
namespace {

using nlohmann::json;
constexpr uint64_t kMaxHeader = 100'000'000;
constexpr size_t kMaxTensors = 1'000'000, kMaxName = 4096, kMaxRank = 16;

// Bits of the format's types that Pare lists but does not load.
int listed_only_bits(std::string_view name) {
  if (name == "F4") return 4;
  if (name == "F6_E2M3" || name == "F6_E3M2") return 6;
  if (name == "F8_E8M0" || name == "F8_E4M3FNUZ" || name == "F8_E5M2FNUZ") return 8;
  if (name == "C64") return 64;
  return 0;
}

// Reads the header's JSON without building it: nothing but the tensors is kept, and a fault ends it at once.
class HeaderReader : public nlohmann::json_sax<json> {
 public:
  HeaderReader(SafetensorsHeader& header, const std::string& where) : header_(header), where_(where) {}

  bool null() override { return wrong("null"); }
  bool boolean(bool) override { return wrong("true or false"); }
  bool number_integer(number_integer_t) override { return wrong("a negative number"); }
  bool number_float(number_float_t, const string_t& text) override { return wrong("the number " + text); }
  bool binary(binary_t&) override { return wrong("binary data"); }
  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ != 3 || array_ == nullptr) return wrong("a number");
    if (value > static_cast<uint64_t>(INT64_MAX))
      fail(tensor_.name + ": " + field_ + " holds " + std::to_string(value) + ", larger than any file");
    array_->push_back(static_cast<int64_t>(value));
    if (array_->size() > kMaxRank)
      fail(tensor_.name + ": more than " + std::to_string(kMaxRank) + " numbers in " + field_);
    return true;
  }
  bool string(string_t& value) override {
    if (in_metadata_ && depth_ == 2) {
      header_.metadata[field_] = value;
      return true;
    }
    if (depth_ == 2 && field_ == "dtype") {
      tensor_.dtype_name = value;
      tensor_.dtype = dtype_from_name(value);
      return true;
    }
    return wrong("a string");
  }
  bool start_object(std::size_t) override {
    ++depth_;
    if (depth_ > 2 || (depth_ == 2 && array_ != nullptr)) return wrong("an object");
    fields_.clear();
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ == 1) {
      if (name.size() > kMaxName)
        fail("a tensor's name has " + std::to_string(name.size()) + " bytes, at most 4096 are allowed");
      if (!names_.insert(name).second) fail("\"" + name + "\" appears twice in the header");
      in_metadata_ = name == "__metadata__";
      tensor_ = {};
      tensor_.name = name;
      shape_.clear();
      offsets_.clear();
    } else {
      if (!fields_.insert(name).second)
        fail((in_metadata_ ? "__metadata__" : tensor_.name) + ": \"" + name + "\" appears twice");
      if (!in_metadata_ && name != "dtype" && name != "shape" && name != "data_offsets")
        fail(tensor_.name + ": unknown key \"" + name + "\"");
      field_ = name;
    }
    return true;
  }
  bool start_array(std::size_t) override {
    ++depth_;
    if (depth_ != 3 || in_metadata_ || (field_ != "shape" && field_ != "data_offsets")) return wrong("an array");
    array_ = field_ == "shape" ? &shape_ : &offsets_;
    return true;
  }
  bool end_array() override {
    --depth_;
    array_ = nullptr;
    return true;
  }
  bool end_object() override {
    if (depth_ == 2 && !in_metadata_) finish_tensor();
    --depth_;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const json::exception& error) override {
    fail("the header is not valid JSON at byte " + std::to_string(position) + ": " + error.what());
  }

 private:
  [[noreturn]] void fail(const std::string& what) { throw InputError(where_ + ": " + what); }
  bool wrong(const std::string& what) {
    fail((in_metadata_ ? "__metadata__"
          : depth_ > 1 ? tensor_.name
                       : "header") +
         ": " + what + " where " +
         (in_metadata_        ? "a string"
          : depth_ <= 1       ? "an object for each tensor"
          : field_.empty()    ? "dtype, shape and data_offsets"
          : field_ == "dtype" ? "the name of a type"
                              : "plain non-negative integers") +
         " was expected");
  }
  void finish_tensor() {
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (!fields_.contains(field)) fail(tensor_.name + ": no " + std::string(field));
    }
    if (offsets_.size() != 2)
      fail(tensor_.name + ": data_offsets holds " + std::to_string(offsets_.size()) +
           " numbers, expected begin and end");
    if (header_.tensors.size() >= kMaxTensors) fail("more than a million tensors");
    tensor_.shape = shape_;
    tensor_.begin = static_cast<uint64_t>(offsets_[0]);
    tensor_.end = static_cast<uint64_t>(offsets_[1]);
    check_size();
    header_.tensors.push_back(tensor_);
  }
  void check_size() {
    if (tensor_.end < tensor_.begin)
      fail(tensor_.name + ": data_offsets end at " + std::to_string(tensor_.end) + ", before they begin at " +
           std::to_string(tensor_.begin));
    const int64_t bits = tensor_.dtype ? 8 * size_of(*tensor_.dtype) : listed_only_bits(tensor_.dtype_name);
    if (bits == 0) fail(tensor_.name + ": unknown dtype \"" + tensor_.dtype_name + "\"");
    const auto elements = checked_product(std::span<const int64_t>(tensor_.shape));
    const auto total = elements ? checked_mul(*elements, bits) : std::nullopt;
    if (!total) fail(tensor_.name + ": its shape has more elements than fit 64 bits");
    if (*total % 8 != 0) fail(tensor_.name + ": " + std::to_string(*total) + " bits are not whole bytes");
    if (static_cast<uint64_t>(*total / 8) != tensor_.bytes()) {
      fail(tensor_.name + ": shape and dtype make " + std::to_string(*total / 8) + " bytes, data_offsets " +
           std::to_string(tensor_.bytes()));
    }
  }

  SafetensorsHeader& header_;
  const std::string& where_;
  int depth_ = 0;
  bool in_metadata_ = false;
  std::set<std::string> names_, fields_;
  std::string field_;
  TensorInfo tensor_;
  std::vector<int64_t> shape_, offsets_;
  std::vector<int64_t>* array_ = nullptr;
};

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80                    ? 1
                          : lead >= 0xc2 && lead <= 0xdf ? 2
                          : (lead & 0xf0) == 0xe0        ? 3
                          : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                         : 0;
    if (length == 0 || length > text.size() - i) return false;
    for (size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    }
    const auto second = length > 1 ? static_cast<unsigned char>(text[i + 1]) : 0;
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
        (lead == 0xf4 && second > 0x8f))
      return false;
    i += length;
  }
  return true;
}

void check_layout(SafetensorsHeader& header, uint64_t data_bytes, const std::string& where) {
  auto& tensors = header.tensors;
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t end = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.begin > end)
      throw InputError(where + ": " + std::to_string(tensor.begin - end) + " bytes before " + tensor.name +
                       " belong to no tensor");
    if (tensor.begin < end) throw InputError(where + ": " + tensor.name + " overlaps the tensor before it");
    end = tensor.end;
  }
  if (end > data_bytes) {
    throw InputError(where + ": header says " + std::to_string(end) + " bytes of data, the file has " +
                     std::to_string(data_bytes) + ". Download cut short?");
  }
  if (end < data_bytes) {
    throw InputError(where + ": " + std::to_string(data_bytes - end) +
                     " bytes after the last tensor belong to no tensor");
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& where) {
  if (file.size() < 8)
    throw InputError(where + ": " + std::to_string(file.size()) + " bytes, a safetensors file has at least 8");
  uint64_t length;
  std::memcpy(&length, file.data(), sizeof length);
  if (length > kMaxHeader)
    throw InputError(where + ": header of " + std::to_string(length) +
                     " bytes, at most 100,000,000 are allowed. Is this a safetensors file?");
  if (length > file.size() - 8) {
    throw InputError(where + ": header of " + std::to_string(length) + " bytes in a file of " +
                     std::to_string(file.size()) + ". Download cut short?");
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
  if (text.empty() || text[0] != '{')
    throw InputError(where + ": the header does not begin with {. Is this a safetensors file?");
  if (!is_utf8(text)) throw InputError(where + ": the header is not valid UTF-8");
  SafetensorsHeader header;
  header.data_begin = 8 + length;
  HeaderReader reader(header, where);
  if (!json::sax_parse(text.begin(), text.end(), &reader)) throw InputError(where + ": the header is not valid JSON");
  check_layout(header, file.size() - header.data_begin, where);
  return header;
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile result;
  result.file_ = MappedFile::open(path);
  result.header_ = parse_safetensors_header(result.file_->bytes(), path.string());
  for (size_t i = 0; i < result.header_.tensors.size(); ++i) result.by_name_[result.header_.tensors[i].name] = i;
  return result;
}

const TensorInfo* SafetensorsFile::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &header_.tensors[found->second];
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorInfo& tensor) const {
  file_->check_not_shrunk();
  return file_->bytes().subspan(header_.data_begin + tensor.begin, tensor.bytes());
}

void SafetensorsFile::release(const TensorInfo& tensor) const {
  file_->release(file_->bytes().subspan(header_.data_begin + tensor.begin, tensor.bytes()));
}

}  // namespace pare
