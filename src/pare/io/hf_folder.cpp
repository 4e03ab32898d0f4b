#include "pare/io/hf_folder.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/base/paths.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
constexpr const char* kIndex = "model.safetensors.index.json";

bool is_pickle(const fs::path& file) {
  const std::string extension = file.extension().string();
  return extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt" ||
         extension == ".pkl";
}

void check_file_name(const std::string& name, const std::string& where) {
  if (name.empty() || name == "." || name == ".." ||
      name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
    throw InputError(where + ": \"" + name + "\" is not the name of a file in this folder");
  }
}

// Tensor name -> shard, as the index says.
std::map<std::string, std::string> read_index(const fs::path& path) {
  const nlohmann::json index = read_json_file(path);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    throw InputError(path.string() + ": no weight_map, which should say which tensor is in which file");
  }
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string()) throw InputError(path.string() + ": weight_map: " + tensor + " is not the name of a file");
    check_file_name(file.get_ref<const std::string&>(), path.string());
    shards[tensor] = file.get<std::string>();
  }
  return shards;
}

[[noreturn]] void no_weights(const fs::path& folder, const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    if (is_pickle(file)) {
      throw UnsupportedError(
          folder.string() + ": its weights are pickled (" + file.filename().string() +
          "), and loading a pickle runs whatever program is in it, so Pare never does. Save the model as safetensors: "
          "model.save_pretrained(folder) in transformers does it, or take the safetensors files of the same model");
    }
  }
  throw InputError(folder.string() + ": no .safetensors file in it");
}

}  // namespace

HfFolder HfFolder::open(const fs::path& given) {
  std::error_code error;
  const fs::path folder = without_trailing_slash(given);
  if (!fs::exists(folder, error)) throw InputError(folder.string() + ": no such folder");
  if (!fs::is_directory(folder, error)) throw InputError(folder.string() + ": not a folder");
  HfFolder result;
  result.path_ = folder;
  std::vector<fs::path> all;
  for (const auto& entry : fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied)) {
    if (entry.is_regular_file(error)) all.push_back(entry.path());
  }
  std::sort(all.begin(), all.end());
  if (!fs::exists(folder / "config.json", error)) {
    throw InputError(
        folder.string() +
        ": no config.json in it. A model's folder holds config.json, its tokenizer's files and .safetensors files");
  }
  result.config_ = std::make_shared<const nlohmann::json>(read_json_file(folder / "config.json", size_t{16} << 20));
  if (!result.config_->is_object()) throw InputError((folder / "config.json").string() + ": not a JSON object");

  std::vector<fs::path> weight_files;
  for (const fs::path& file : all) {
    if (file.parent_path() == folder && file.extension() == ".safetensors") weight_files.push_back(file);
  }
  std::map<std::string, std::string> shards;
  if (fs::exists(folder / kIndex, error)) {
    shards = read_index(folder / kIndex);
    std::set<std::string> names;
    for (const auto& [tensor, shard] : shards) names.insert(shard);
    weight_files.clear();
    for (const std::string& name : names) {
      if (!fs::exists(folder / name, error))
        throw InputError((folder / name).string() + ": missing, though " + kIndex + " names it. Download it again");
      weight_files.push_back(folder / name);
    }
  } else if (weight_files.size() > 1) {
    if (fs::exists(folder / "model.safetensors", error)) {
      weight_files = {folder / "model.safetensors"};
    } else {
      throw InputError(folder.string() + ": " + std::to_string(weight_files.size()) +
                       " .safetensors files and no index; " + kIndex + " should say which tensor is in which file");
    }
  } else if (weight_files.size() == 1 && weight_files[0].filename().string().find("-of-") != std::string::npos &&
             !weight_files[0].filename().string().ends_with("-of-00001.safetensors")) {
    throw InputError(folder.string() + ": " + weight_files[0].filename().string() +
                     " is one of several shards and the index, " + kIndex + ", is missing. Download the folder again");
  }
  if (weight_files.empty()) no_weights(folder, all);

  for (const fs::path& file : weight_files) result.files_.push_back(SafetensorsFile::open(file));
  for (size_t i = 0; i < result.files_.size(); ++i) {
    for (const TensorInfo& tensor : result.files_[i].tensors()) {
      const bool is_new = result.tensors_.emplace(tensor.name, std::pair(i, &tensor)).second;
      if (!is_new) throw InputError(folder.string() + ": " + tensor.name + " is in two files");
    }
  }
  for (const auto& [tensor, shard] : shards) {
    const auto found = result.tensors_.find(tensor);
    if (found == result.tensors_.end() || result.files_[found->second.first].path().filename() != shard) {
      throw InputError((folder / shard).string() + ": " + tensor + " is not in it, though " + kIndex +
                       " says so. Were two shards swapped?");
    }
  }
  for (const fs::path& file : all) {
    const fs::path name = file.lexically_relative(folder);  // as named here: hub caches hold links to elsewhere
    const bool ours = name == "config.json" || name == kIndex || is_pickle(file) || file.extension() == ".safetensors";
    if (!ours && name.begin()->string() != ".git" && name.begin()->string() != ".cache")
      result.other_files_.push_back(name);
  }
  return result;
}

const nlohmann::json& HfFolder::config() const {
  return *config_;
}

std::vector<std::string> HfFolder::tensor_names() const {
  std::vector<std::string> names;
  for (const SafetensorsFile& file : files_) {
    for (const TensorInfo& tensor : file.tensors()) names.push_back(tensor.name);
  }
  return names;
}

const TensorInfo* HfFolder::find(const std::string& tensor) const {
  const auto found = tensors_.find(tensor);
  return found == tensors_.end() ? nullptr : found->second.second;
}

std::span<const std::byte> HfFolder::bytes(const std::string& tensor) const {
  const auto found = tensors_.find(tensor);
  if (found == tensors_.end()) throw InputError(path_.string() + ": no tensor " + tensor);
  return files_[found->second.first].bytes(*found->second.second);
}

void HfFolder::release(const std::string& tensor) const {
  const auto found = tensors_.find(tensor);
  if (found != tensors_.end()) files_[found->second.first].release(*found->second.second);
}

std::shared_ptr<const MappedFile> HfFolder::mapping(const std::string& tensor) const {
  const auto found = tensors_.find(tensor);
  return found == tensors_.end() ? nullptr : files_[found->second.first].mapping();
}

}  // namespace pare
