#include "pare/base/model_path.h"

#include <algorithm>
#include <map>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/part_name.h"

namespace pare {
namespace {

bool is_hub_word(std::string_view word) {
  const auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !word.empty() && word.size() <= 96 && (alphanumeric(word.front()) || word.front() == '_') &&
         word.find("..") == std::string_view::npos && word.find("--") == std::string_view::npos &&
         std::all_of(word.begin(), word.end(),
                     [&](char c) { return alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

}  // namespace

bool is_hub_name(std::string_view text) {
  const size_t slash = text.find('/');
  return slash != std::string_view::npos && is_hub_word(text.substr(0, slash)) && is_hub_word(text.substr(slash + 1));
}

std::string no_such_model(const std::filesystem::path& model) {
  const std::string text = model.string();
  const std::string name = text.substr(0, text.find(':'));
  const std::string_view file = std::string_view(name).substr(name.find('/') + 1);
  std::error_code error;
  if (is_hub_name(name) && !file.ends_with(".gguf") &&
      !std::filesystem::exists(name.substr(0, name.find('/')), error)) {
    return text + ": not a folder or file here; `pare pull " + text + "` downloads it";
  }
  return text +
         ": no such file or folder. Give a Hugging Face folder (with config.json) or a .gguf file on this machine";
}

std::filesystem::path model_in(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error) || std::filesystem::exists(path / "config.json", error)) return path;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    if (entry.path().extension() == ".gguf") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::map<std::filesystem::path, std::filesystem::path> models;  // by their first part: the first one that is there
  for (const auto& file : files) models.emplace(first_part(file), file);
  if (models.empty()) return path;
  if (models.size() == 1) return models.begin()->second;
  constexpr size_t kShown = 8;
  std::string names;
  size_t shown = 0;
  for (const auto& [first, file] : models) {
    if (shown++ < kShown) names += (names.empty() ? "" : ", ") + file.filename().string();
  }
  if (models.size() > kShown) names += ", ...";
  throw InputError(path.string() + ": holds " + std::to_string(models.size()) + " GGUF models (" + names +
                   ") and no config.json. Give one of them: " + models.begin()->second.string());
}

}  // namespace pare
