#include "pare/weights/sentence_modules.h"

#include <array>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/io/gguf_split.h"
#include "pare/io/hf_folder.h"
#include "pare/weights/config_fields.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kModules = "modules.json";
constexpr const char* kSizes = "sentence_bert_config.json";
constexpr const char* kPrompts = "config_sentence_transformers.json";
constexpr const char* kGgufKey = "bert.pooling_type";
constexpr const char* kPoolingFolder = "1_Pooling";
constexpr const char* kModulePrefix = "sentence_transformers.models.";

struct Mode {
  SentencePooling pooling;
  const char *flag, *word;  // as the two forms of the file have it
};
constexpr std::array kModes{Mode{SentencePooling::cls, "pooling_mode_cls_token", "cls"},
                            Mode{SentencePooling::mean, "pooling_mode_mean_tokens", "mean"},
                            Mode{SentencePooling::last, "pooling_mode_lasttoken", "lasttoken"}};

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw UnsupportedError(where + ": " + what + "; GGUF has mean, cls and the last token, and nothing behind them");
}

SentencePooling read_pooling(const fs::path& path) {
  const json config = read_json_file(path);
  const ConfigFields fields(config, path.string());
  std::optional<SentencePooling> found;
  const auto take = [&](std::optional<SentencePooling> pooling, const std::string& what) {
    if (!pooling) refuse(path.string(), what);
    if (found) refuse(path.string(), "several pooling modes at once");
    found = pooling;
  };
  if (const auto word = fields.text("pooling_mode")) {
    std::optional<SentencePooling> named;
    for (const Mode& mode : kModes) {
      if (*word == mode.word) named = mode.pooling;
    }
    take(named, "pooling_mode \"" + *word + "\"");
  }
  for (const auto& [key, value] : config.items()) {
    if (!key.starts_with("pooling_mode_") || !fields.flag(key.c_str(), false)) continue;
    std::optional<SentencePooling> named;
    for (const Mode& mode : kModes) {
      if (key == mode.flag) named = mode.pooling;
    }
    take(named, key);
  }
  if (!found) throw InputError(path.string() + ": no pooling mode is true");
  return *found;
}

// What of `path` lies in the folder; modules.json may come from anywhere.
fs::path place_in(const fs::path& folder, const std::string& path, const std::string& where) {
  for (const fs::path& part : fs::path(path)) {
    if (part == "..") throw InputError(where + ": \"" + path + "\" leads out of the folder");
  }
  if (fs::path(path).is_absolute()) throw InputError(where + ": \"" + path + "\" leads out of the folder");
  return folder / path;
}

std::optional<SentencePooling> read_modules(const fs::path& folder) {
  const fs::path path = folder / kModules;
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  const json modules = read_json_file(path);
  if (!modules.is_array()) throw InputError(path.string() + ": expected a list of modules");
  std::optional<SentencePooling> pooling;
  for (const json& module : modules) {
    const ConfigFields fields(module, path.string());
    const std::string type = fields.text("type").value_or("");
    const std::string kind = type.substr(type.rfind('.') + 1);
    if (kind == "Pooling") {
      const fs::path place = place_in(folder, fields.text("path").value_or(""), path.string());
      pooling = read_pooling(place / "config.json");
    } else if (kind != "Transformer" && kind != "Normalize") {
      refuse(path.string(), "module " + type);
    }
  }
  return pooling;
}

SentenceModules modules_of_folder(const fs::path& folder) {
  SentenceModules result;
  result.pooling = read_modules(folder);
  std::error_code error;
  if (fs::exists(folder / kSizes, error)) {
    const json sizes = read_json_file(folder / kSizes);
    const ConfigFields fields(sizes, (folder / kSizes).string());
    if (fields.find("max_seq_length") != nullptr) {
      result.longest_text = fields.integer("max_seq_length", {}, 1, kMaxPositions);
    }
  }
  if (fs::exists(folder / kPrompts, error)) {
    const json prompts = read_json_file(folder / kPrompts);
    const ConfigFields fields(prompts, (folder / kPrompts).string());
    const auto name = fields.text("default_prompt_name");
    const json* list = fields.find("prompts");
    if (name && list != nullptr) {
      result.put_before = ConfigFields(*list, fields.where() + ": prompts").text(name->c_str());
    }
  }
  return result;
}

}  // namespace

const char* name_of(SentencePooling pooling) {
  constexpr std::array names{"none", "mean", "cls", "last", "rank"};
  return names[static_cast<size_t>(pooling)];
}

SentenceModules sentence_modules(const ModelFiles& model) {
  if (const HfFolder* folder = model.hf_folder()) return modules_of_folder(folder->path());
  SentenceModules result;
  const GgufFile& file = model.gguf()->first();
  if (!file.has(kGgufKey)) return result;
  const int64_t number = file.integer(kGgufKey);
  if (number < 0 || number > static_cast<int64_t>(SentencePooling::rank)) {
    throw UnsupportedError(file.path().string() + ": " + kGgufKey + " " + std::to_string(number) + " is not known");
  }
  result.pooling = static_cast<SentencePooling>(number);
  return result;
}

std::vector<std::pair<fs::path, std::string>> sentence_files(SentencePooling pooling, const EncoderConfig& config) {
  if (pooling == SentencePooling::none || pooling == SentencePooling::rank) return {};
  const auto module = [](int number, const char* folder, const char* kind) {
    return json{{"idx", number},
                {"name", std::to_string(number)},
                {"path", folder},
                {"type", kModulePrefix + std::string(kind)}};
  };
  json modes{{"word_embedding_dimension", config.hidden}};
  for (const Mode& mode : kModes) modes[mode.flag] = mode.pooling == pooling;
  const auto text = [](const json& value) { return dump_json(value, 2) + "\n"; };
  return {{kModules, text({module(0, "", "Transformer"), module(1, kPoolingFolder, "Pooling")})},
          {fs::path(kPoolingFolder) / "config.json", text(modes)},
          {kSizes, text({{"max_seq_length", config.max_positions}, {"do_lower_case", false}})}};
}

}  // namespace pare
