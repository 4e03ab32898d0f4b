// A Hugging Face model folder: config.json, safetensors files (one, or shards with an index), and everything else.
//
// Checked on opening: config.json is there; the index names files inside the folder only; every tensor of the index
// is in its shard; no shard is missing. Pickled weights (.bin, .pt, .pth) are never opened: a folder with nothing else
// is refused with the way out (convert it to safetensors).
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "pare/io/safetensors.h"

namespace pare {

class HfFolder {
 public:
  static HfFolder open(const std::filesystem::path& folder);

  const std::filesystem::path& path() const { return path_; }
  const nlohmann::json& config() const;
  const std::vector<SafetensorsFile>& files() const { return files_; }
  std::vector<std::string> tensor_names() const;  // of all files, in file order
  const TensorInfo* find(const std::string& tensor) const;
  std::span<const std::byte> bytes(const std::string& tensor) const;  // InputError when there is no such tensor
  void release(const std::string& tensor) const;
  std::shared_ptr<const MappedFile> mapping(const std::string& tensor) const;  // keeps its bytes valid
  // Files that are neither weights, index nor config.json: an output carries them along.
  const std::vector<std::filesystem::path>& other_files() const { return other_files_; }

 private:
  std::filesystem::path path_;
  std::shared_ptr<const nlohmann::json> config_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::pair<size_t, const TensorInfo*>> tensors_;
  std::vector<std::filesystem::path> other_files_;
};

}  // namespace pare
