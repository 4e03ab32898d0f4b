#include "pare/io/safetensors_writer.h"

#include <memory>
#include <nlohmann/json.hpp>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/io/new_file.h"

namespace pare {
namespace {

struct Placed {
  uint64_t begin, bytes;
  bool written = false;
};

struct Layout {
  std::string header;  // length and JSON, padded
  std::map<std::string, Placed> tensors;
  uint64_t data_bytes = 0;
};

Layout lay_out(const std::vector<TensorSpec>& tensors, std::map<std::string, std::string> metadata) {
  Layout layout;
  metadata["format"] = "pt";
  nlohmann::ordered_json json;
  json["__metadata__"] = metadata;
  for (const TensorSpec& tensor : tensors) {
    const auto elements = checked_product(std::span<const int64_t>(tensor.shape));
    PARE_ASSERT(elements.has_value());
    const auto bytes = static_cast<uint64_t>(*elements * size_of(tensor.dtype));
    const bool is_new = layout.tensors.emplace(tensor.name, Placed{layout.data_bytes, bytes}).second;
    PARE_ASSERT(is_new);
    json[tensor.name] = {{"dtype", std::string(name_of(tensor.dtype))},
                         {"shape", tensor.shape},
                         {"data_offsets", {layout.data_bytes, layout.data_bytes + bytes}}};
    layout.data_bytes += bytes;
  }
  std::string text = json.dump();
  text.append((64 - (8 + text.size()) % 64) % 64, ' ');  // mapped data can then feed 64-byte loads
  const uint64_t length = text.size();
  layout.header.assign(reinterpret_cast<const char*>(&length), sizeof length);
  layout.header += text;
  return layout;
}

}  // namespace

uint64_t safetensors_file_bytes(const std::vector<TensorSpec>& tensors,
                                const std::map<std::string, std::string>& metadata) {
  const Layout layout = lay_out(tensors, metadata);
  return layout.header.size() + layout.data_bytes;
}

struct SafetensorsWriter::State {
  Layout layout;
  NewFile file;
};

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                                     std::map<std::string, std::string> metadata) {
  Layout layout = lay_out(tensors, std::move(metadata));
  const uint64_t bytes = layout.header.size() + layout.data_bytes;
  state_.reset(new State{std::move(layout), {path, bytes}});
  state_->file.write_at(0, std::as_bytes(std::span(state_->layout.header)));
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(const std::string& name, std::span<const std::byte> bytes) {
  const auto tensor = state_->layout.tensors.find(name);
  PARE_ASSERT(tensor != state_->layout.tensors.end() && !tensor->second.written &&
              tensor->second.bytes == bytes.size());
  state_->file.write_at(state_->layout.header.size() + tensor->second.begin, bytes);
  tensor->second.written = true;
}

void SafetensorsWriter::finish() {
  for (const auto& entry : state_->layout.tensors) PARE_ASSERT(entry.second.written);
  state_->file.finish();
}

}  // namespace pare
