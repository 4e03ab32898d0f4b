#include "pare/hub/choose.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "pare/base/error.h"
#include "pare/base/part_name.h"
#include "pare/base/units.h"

namespace pare {
namespace {

constexpr std::array kOtherWeights{".bin",       ".pt",     ".pth",       ".ckpt",    ".h5",     ".msgpack", ".onnx",
                                   ".onnx_data", ".ot",     ".tflite",    ".gguf",    ".ggml",   ".npz",     ".pkl",
                                   ".nemo",      ".engine", ".llamafile", ".mlmodel", ".pickle", ".distcp"};

std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return result;
}

bool is_gguf_model(const HubFile& file) {
  const std::string name = lower(base_name(file.path));
  return name.ends_with(".gguf") && !name.starts_with("mmproj") && name.find("imatrix") == std::string::npos;
}

bool is_safetensors(const HubFile& file) {
  return file.path.ends_with(".safetensors");
}

bool is_other_weights(const HubFile& file) {
  const std::string name = lower(base_name(file.path));
  return std::any_of(kOtherWeights.begin(), kOtherWeights.end(), [&](const char* end) { return name.ends_with(end); });
}

bool is_consolidated(const HubFile& file) {
  return is_safetensors(file) && base_name(file.path).starts_with("consolidated");
}

bool matches_any(const std::string& path, const std::vector<std::string>& globs) {
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
    const std::string whole = glob.ends_with('/') ? glob + "*" : glob;
    return fnmatch(whole.c_str(), path.c_str(), 0) == 0;
  });
}

// dir/Model-Q4_K_M-00001-of-00003.gguf -> dir/Model-Q4_K_M
std::string gguf_model_name(const std::string& path) {
  return without_part(path).string();
}

// The last word of the name, or the folder.
bool is_of_type(const std::string& model_name, const std::string& type) {
  const std::string name = lower(model_name), end = lower(type);
  if (name.starts_with(end + "/") || name.find("/" + end + "/") != std::string::npos) return true;
  if (!name.ends_with(end)) return false;
  return name.size() == end.size() ||
         std::string_view("-._/").find(name[name.size() - end.size() - 1]) != std::string_view::npos;
}

using GgufModels = std::map<std::string, std::vector<HubFile>>;  // shards by name

std::string list_of(const GgufModels& models) {
  std::string text;
  for (const auto& [name, shards] : models) {
    text += "\n  " + shards[0].path + "  " + format_bytes(total_bytes(shards));
    if (shards.size() > 1) text += " in " + std::to_string(shards.size()) + " files";
  }
  return text;
}

HubChoice one_gguf(const GgufModels& models, const std::string& repo) {
  if (models.size() > 1) {
    throw UsageError(repo + ": several GGUF models fit. Name one, its type or its file, behind a colon (" + repo +
                     ":Q4_K_M):" + list_of(models));
  }
  HubChoice choice;
  choice.files = models.begin()->second;
  std::sort(choice.files.begin(), choice.files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  choice.model_file = choice.files[0].path;
  return choice;
}

HubChoice named_file(const std::vector<HubFile>& files, const GgufModels& ggufs, const HubWish& wish,
                     const std::string& repo) {
  for (const HubFile& file : files) {
    if (file.path != wish.file) continue;
    // a part of a model is of no use: the rest comes with it
    if (is_gguf_model(file)) return one_gguf({{"", ggufs.at(gguf_model_name(file.path))}}, repo);
    return {{file}, {}, file.path};
  }
  GgufModels fitting;
  for (const auto& model : ggufs) {
    if (is_of_type(model.first, wish.file)) fitting.insert(model);
  }
  if (!fitting.empty()) return one_gguf(fitting, repo);
  std::vector<std::string> names;
  for (const HubFile& file : files) names.push_back(file.path);
  const std::string near = nearest_word(wish.file, names);
  throw UsageError(repo + ": no file or GGUF type " + wish.file + " there" +
                   (near.empty() ? "" : "; did you mean " + near + "?") +
                   (ggufs.empty() ? "" : " Its GGUF models:" + list_of(ggufs)));
}

}  // namespace

uint64_t total_bytes(const std::vector<HubFile>& files) {
  uint64_t bytes = 0;
  for (const HubFile& file : files) bytes += file.bytes;
  return bytes;
}

HubChoice choose_files(const std::vector<HubFile>& files, const HubWish& wish, const std::string& repo) {
  GgufModels ggufs;
  for (const HubFile& file : files) {
    if (is_gguf_model(file)) ggufs[gguf_model_name(file.path)].push_back(file);
  }
  if (!wish.file.empty()) return named_file(files, ggufs, wish, repo);

  HubChoice choice;
  if (!wish.include.empty()) {
    for (const HubFile& file : files) {
      if (matches_any(file.path, wish.include) && !matches_any(file.path, wish.exclude)) choice.files.push_back(file);
    }
    if (choice.files.empty()) throw UsageError(repo + ": no file fits --include less --exclude");
    return choice;
  }
  const bool has_safetensors = std::any_of(files.begin(), files.end(), is_safetensors);
  if (!has_safetensors && !ggufs.empty()) {
    for (auto model = ggufs.begin(); model != ggufs.end();) {
      model = matches_any(model->second[0].path, wish.exclude) ? ggufs.erase(model) : std::next(model);
    }
    if (ggufs.empty()) throw UsageError(repo + ": --exclude leaves no GGUF model");
    return one_gguf(ggufs, repo);
  }
  const bool has_own_shards = std::any_of(
      files.begin(), files.end(), [](const HubFile& file) { return is_safetensors(file) && !is_consolidated(file); });
  for (const HubFile& file : files) {
    if (matches_any(file.path, wish.exclude)) continue;
    const bool other = is_other_weights(file) || (has_own_shards && is_consolidated(file));
    (other ? choice.left_out : choice.files).push_back(file);
  }
  if (!has_safetensors && !choice.left_out.empty()) {
    throw UnsupportedError(repo + ": its weights are " + choice.left_out[0].path +
                           (choice.left_out.size() > 1 ? " and the like" : "") + " (" +
                           format_bytes(total_bytes(choice.left_out)) +
                           "), neither safetensors nor GGUF, and Pare does not read them. Look for a repository or a "
                           "--revision that has safetensors (refs/pr/1 often does); --include '*' loads all the same");
  }
  if (choice.files.empty()) throw UsageError(repo + ": no files to load");
  return choice;
}

}  // namespace pare
