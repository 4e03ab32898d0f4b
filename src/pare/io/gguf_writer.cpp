#include "pare/io/gguf_writer.h"

#include <cstring>
#include <limits>
#include <map>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/io/gguf_value_type.h"
#include "pare/io/new_file.h"

namespace pare {
namespace {

using gguf::ValueType;
using enum ValueType;

constexpr uint64_t kAlignment = 32;

bool is_short(const std::string& key) {
  return key == "split.no" || key == "split.count";
}

uint64_t padded(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

class Builder {
 public:
  template <class T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void string(const std::string& value) {
    number<uint64_t>(value.size());
    bytes_ += value;
  }
  // llama.cpp reads its integers as u32 (or i32) and its floats as f32; wider ones only where the value needs it.
  void value(const GgufValue& value, bool with_type) {
    std::visit([&](const auto& item) { this->item(item, with_type); }, value);
  }
  std::string& bytes() { return bytes_; }

 private:
  void type(uint32_t type, bool with_type) {
    if (with_type) number<uint32_t>(type);
  }
  void item(bool value, bool with_type) {
    type(boolean, with_type);
    number<uint8_t>(value ? 1 : 0);
  }
  void item(int64_t value, bool with_type) {
    const bool narrow = value >= INT32_MIN && value <= INT32_MAX;
    type(narrow ? i32 : i64, with_type);
    narrow ? number<int32_t>(static_cast<int32_t>(value)) : number<int64_t>(value);
  }
  void item(uint64_t value, bool with_type) {
    const bool narrow = value <= UINT32_MAX;
    type(narrow ? u32 : u64, with_type);
    narrow ? number<uint32_t>(static_cast<uint32_t>(value)) : number<uint64_t>(value);
  }
  void item(double value, bool with_type) {
    type(f32, with_type);
    number<float>(static_cast<float>(value));
  }
  void item(const std::string& value, bool with_type) {
    type(text, with_type);
    string(value);
  }
  void item(const GgufArray& value, bool with_type) {
    type(array, with_type);
    std::visit([&](const auto& items) { array_items(items); }, value.items);
  }
  template <class T>
  void array_items(const std::vector<T>& items) {
    bool narrow = true;  // of integers: one width for all
    uint32_t element = 0;
    if constexpr (std::is_same_v<T, bool>) element = boolean;
    if constexpr (std::is_same_v<T, std::string>) element = text;
    if constexpr (std::is_same_v<T, double>) element = f32;
    if constexpr (std::is_same_v<T, int64_t>) {
      for (T item : items) narrow = narrow && item >= INT32_MIN && item <= INT32_MAX;
      element = narrow ? i32 : i64;
    }
    if constexpr (std::is_same_v<T, uint64_t>) {
      for (T item : items) narrow = narrow && item <= UINT32_MAX;
      element = narrow ? u32 : u64;
    }
    number<uint32_t>(element);
    number<uint64_t>(items.size());
    for (const auto& item : items) {
      if constexpr (std::is_same_v<T, bool>) number<uint8_t>(item ? 1 : 0);
      if constexpr (std::is_same_v<T, std::string>) string(item);
      if constexpr (std::is_same_v<T, double>) number<float>(static_cast<float>(item));
      if constexpr (std::is_same_v<T, int64_t>)
        narrow ? number<int32_t>(static_cast<int32_t>(item)) : number<int64_t>(item);
      if constexpr (std::is_same_v<T, uint64_t>)
        narrow ? number<uint32_t>(static_cast<uint32_t>(item)) : number<uint64_t>(item);
    }
  }

  std::string bytes_;
};

struct Placed {
  uint64_t offset, bytes;
  bool written = false;
};

struct Layout {
  std::string header;  // padded
  std::map<std::string, Placed> tensors;
  uint64_t data_bytes = 0;
};

uint64_t bytes_of(const GgufTensorSpec& tensor) {
  PARE_ASSERT(tensor.type != nullptr && tensor.shape.size() >= 1 && tensor.shape.size() <= 4);
  PARE_ASSERT(tensor.shape.back() % tensor.type->block_elements == 0);
  const auto elements = checked_product(std::span<const int64_t>(tensor.shape));
  PARE_ASSERT(elements && *elements > 0);
  return static_cast<uint64_t>(*elements / tensor.type->block_elements * tensor.type->block_bytes);
}

void put_head(Builder& builder, const GgufMetadata& metadata, uint64_t tensors) {
  builder.bytes() = "GGUF";
  builder.number<uint32_t>(3);
  builder.number<uint64_t>(tensors);
  builder.number<uint64_t>(metadata.size());
  for (const auto& [key, value] : metadata) {
    PARE_ASSERT(key != "general.alignment");
    builder.string(key);
    if (is_short(key)) {
      builder.number<uint32_t>(u16);
      builder.number(static_cast<uint16_t>(std::get<uint64_t>(value)));
    } else {
      builder.value(value, true);
    }
  }
}

void put_entry(Builder& builder, const GgufTensorSpec& tensor, uint64_t offset) {
  builder.string(tensor.name);
  builder.number<uint32_t>(static_cast<uint32_t>(tensor.shape.size()));
  for (size_t i = tensor.shape.size(); i-- > 0;) builder.number<uint64_t>(static_cast<uint64_t>(tensor.shape[i]));
  builder.number<uint32_t>(tensor.type->id);
  builder.number<uint64_t>(offset);
}

Layout lay_out(const GgufMetadata& metadata, const std::vector<GgufTensorSpec>& tensors) {
  Layout layout;
  Builder builder;
  put_head(builder, metadata, tensors.size());
  for (const GgufTensorSpec& tensor : tensors) {
    const uint64_t bytes = bytes_of(tensor);
    put_entry(builder, tensor, layout.data_bytes);
    const bool is_new = layout.tensors.emplace(tensor.name, Placed{layout.data_bytes, bytes}).second;
    PARE_ASSERT(is_new);
    layout.data_bytes = padded(layout.data_bytes + bytes);
  }
  layout.header = std::move(builder.bytes());
  layout.header.resize(padded(layout.header.size()), '\0');
  return layout;
}

}  // namespace

uint64_t gguf_file_bytes(const GgufMetadata& metadata, const std::vector<GgufTensorSpec>& tensors) {
  GgufSize size(metadata);
  for (const GgufTensorSpec& tensor : tensors) size.add(tensor);
  return size.bytes();
}

GgufSize::GgufSize(const GgufMetadata& metadata) {
  Builder builder;
  put_head(builder, metadata, 0);
  header_ = builder.bytes().size();
}

void GgufSize::add(const GgufTensorSpec& tensor) {
  Builder builder;
  put_entry(builder, tensor, 0);
  header_ += builder.bytes().size();
  data_ += padded(bytes_of(tensor));
}

uint64_t GgufSize::bytes() const {
  return padded(header_) + data_;
}

struct GgufWriter::State {
  Layout layout;
  NewFile file;
};

GgufWriter::GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
                       std::vector<GgufTensorSpec> tensors) {
  Layout layout = lay_out(metadata, tensors);
  const uint64_t bytes = layout.header.size() + layout.data_bytes;
  PARE_ASSERT(bytes == gguf_file_bytes(metadata, tensors));
  state_.reset(new State{std::move(layout), {path, bytes}});
  state_->file.write_at(0, std::as_bytes(std::span(state_->layout.header)));
}

GgufWriter::~GgufWriter() = default;

void GgufWriter::write(const std::string& name, std::span<const std::byte> bytes) {
  const auto tensor = state_->layout.tensors.find(name);
  PARE_ASSERT(tensor != state_->layout.tensors.end() && !tensor->second.written &&
              tensor->second.bytes == bytes.size());
  state_->file.write_at(state_->layout.header.size() + tensor->second.offset, bytes);
  tensor->second.written = true;
}

void GgufWriter::finish() {
  for (const auto& entry : state_->layout.tensors) PARE_ASSERT(entry.second.written);
  // posix_fallocate made the padding zeros
  state_->file.finish();
}

}  // namespace pare
