#include "pare/weights/model_files.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "pare/base/error.h"
#include "pare/base/fingerprint.h"
#include "pare/base/model_path.h"
#include "pare/io/gguf_split.h"
#include "pare/io/hf_folder.h"
#include "pare/io/mapped_file.h"
#include "pare/weights/gguf_model.h"
#include "pare/weights/model_source.h"

namespace pare {

namespace fs = std::filesystem;

struct ModelFiles::Impl {
  fs::path path;
  std::string format;
  nlohmann::json config;
  std::optional<HfFolder> folder;
  std::optional<GgufParts> gguf;
  std::vector<ParameterInfo> infos;
  std::vector<SourceParameter> sources;  // [infos]
  std::map<std::string, size_t> by_name;
};

ModelFiles ModelFiles::open(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    throw InputError(no_such_model(path));
  }
  const fs::path model = model_in(path);
  auto impl = std::make_shared<Impl>();
  impl->path = model;
  if (fs::is_directory(model, error)) {
    impl->folder = HfFolder::open(model);
    impl->config = impl->folder->config();
    impl->sources = hf_parameters(*impl->folder, impl->format);
    impl->config.erase("quantization_config");
    impl->config.erase("compression_config");
  } else if (model.extension() == ".gguf") {
    impl->gguf = GgufParts::open(model);
    impl->path = impl->gguf->first().path();
    impl->format = "gguf";
    impl->config = config_from_gguf(*impl->gguf);
    impl->sources = gguf_parameters(*impl->gguf);
  } else {
    throw UnsupportedError(
        model.string() +
        ": neither a folder nor a .gguf file. Give a Hugging Face folder (with config.json) or a .gguf file");
  }
  for (const SourceParameter& source : impl->sources) {
    const bool is_new = impl->by_name.emplace(source.info.name, impl->infos.size()).second;
    if (!is_new) throw InputError(model.string() + ": " + source.info.name + " is there twice, in two forms");
    impl->infos.push_back(source.info);
  }
  ModelFiles files;
  files.impl_ = std::move(impl);
  return files;
}

const fs::path& ModelFiles::path() const {
  return impl_->path;
}
std::string ModelFiles::format() const {
  return impl_->format;
}
const nlohmann::json& ModelFiles::config() const {
  return impl_->config;
}
const std::vector<ParameterInfo>& ModelFiles::parameters() const {
  return impl_->infos;
}
const GgufParts* ModelFiles::gguf() const {
  return impl_->gguf ? &*impl_->gguf : nullptr;
}
const HfFolder* ModelFiles::hf_folder() const {
  return impl_->folder ? &*impl_->folder : nullptr;
}

const ParameterInfo* ModelFiles::find(const std::string& name) const {
  const auto found = impl_->by_name.find(name);
  return found == impl_->by_name.end() ? nullptr : &impl_->infos[found->second];
}

Weight ModelFiles::read(const std::string& name) const {
  const auto found = impl_->by_name.find(name);
  if (found == impl_->by_name.end()) throw InputError(impl_->path.string() + ": no tensor " + name);
  const SourceParameter& source = impl_->sources[found->second];
  if (!source.info.readable) {
    const std::string message = impl_->path.string() + ": " + name + ": " + source.info.why_not;
    if (source.damaged) throw InputError(message);
    throw UnsupportedError(message);
  }
  Weight weight = source.read();
  check_weight(weight, impl_->path.string() + ": " + name);
  return weight;
}

void ModelFiles::release(const std::string& name) const {
  const auto found = impl_->by_name.find(name);
  if (found == impl_->by_name.end()) return;
  for (const std::string& stored : impl_->sources[found->second].stored) {
    if (impl_->folder) impl_->folder->release(stored);
    if (impl_->gguf) impl_->gguf->file_of(stored)->release(*impl_->gguf->find(stored));
  }
}

std::vector<fs::path> ModelFiles::weight_files() const {
  std::vector<fs::path> paths;
  if (impl_->gguf) {
    for (const GgufFile& file : impl_->gguf->files()) paths.push_back(file.path());
    return paths;
  }
  for (const SafetensorsFile& file : impl_->folder->files()) paths.push_back(file.path());
  return paths;
}

uint64_t ModelFiles::bytes() const {
  uint64_t total = 0;
  for (const fs::path& file : weight_files()) total += fs::file_size(file);
  return total;
}

std::vector<std::string> ModelFiles::notes() const {
  const auto rounds_activations = [](const SourceParameter& source) {
    return std::any_of(source.stored.begin(), source.stored.end(), [](const std::string& name) {
      return name.ends_with(".input_scale") || name.ends_with(".activation_scale");
    });
  };
  const auto count = std::count_if(impl_->sources.begin(), impl_->sources.end(), rounds_activations);
  if (count == 0) return {};
  return {
      std::to_string(count) +
      " layers have scales for rounding their inputs (input_scale). Pare does not round inputs and leaves them out; "
      "the weights are not touched by them."};
}

std::string ModelFiles::fingerprint() const {
  // Whole files up to this size; of larger ones the head (with the header), the tail and a sample of 1 MB in every 64.
  constexpr size_t kWhole = size_t{1} << 30, kPiece = size_t{1} << 20, kStride = size_t{64} << 20;
  Fingerprint fingerprint;
  fingerprint.add(impl_->folder ? impl_->folder->config().dump() : impl_->config.dump());
  if (const fs::path legacy = impl_->path / "quantize_config.json"; impl_->folder && fs::exists(legacy)) {
    fingerprint.add(MappedFile::open(legacy)->bytes());
  }
  for (const fs::path& path : weight_files()) {
    const auto file = MappedFile::open(path);
    const auto bytes = file->bytes();
    const uint64_t size = bytes.size();
    fingerprint.add(path.filename().string()).add(std::as_bytes(std::span(&size, 1)));
    const auto add = [&](std::span<const std::byte> piece) {
      fingerprint.add(piece);
      file->release(piece);  // else a whole file counts as this process's memory
    };
    for (size_t at = 0; at < size; at += size <= kWhole ? kPiece : kStride) {
      add(bytes.subspan(at, std::min(kPiece, size - at)));
    }
    if (size > kWhole) add(bytes.last(kPiece));
  }
  return fingerprint.hex();
}

}  // namespace pare
