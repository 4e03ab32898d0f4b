#include "pare/weights/quantization_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "pare/base/error.h"
#include "pare/base/json.h"

namespace pare {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string shown(const json& value) {
  const std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

class Fields {
 public:
  Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) throw InputError(where_ + " is " + shown(object) + ", expected a JSON object");
  }
  const json* find(const char* key) const {
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  int64_t integer(const char* key, const char* old_key, std::optional<int64_t> fallback) const {
    const json* value = find(key) != nullptr || old_key == nullptr ? find(key) : find(old_key);
    if (value == nullptr) {
      if (!fallback) throw InputError(where_ + ": " + key + " is missing");
      return *fallback;
    }
    if (!value->is_number_integer() || *value < -1 || *value > 1 << 30) {
      throw InputError(where_ + ": " + key + " is " + shown(*value) + ", expected an integer");
    }
    return value->get<int64_t>();
  }
  bool flag(const char* key, bool fallback) const {
    const json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) {
      throw InputError(where_ + ": " + key + " is " + shown(*value) + ", expected true or false");
    }
    return value->get<bool>();
  }
  std::string text(const char* key, const char* fallback) const {
    const json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) throw InputError(where_ + ": " + key + " is " + shown(*value) + ", expected a string");
    return value->get<std::string>();
  }
  const std::string& where() const { return where_; }

 private:
  const json& object_;
  std::string where_;
};

GptqScheme gptq_scheme(const Fields& fields) {
  GptqScheme scheme;
  scheme.bits = static_cast<int>(fields.integer("bits", "w_bit", std::nullopt));
  scheme.group = fields.integer("group_size", "q_group_size", 128);
  scheme.symmetric = fields.flag("sym", true);
  scheme.act_order = fields.flag("desc_act", false);
  std::string format = fields.text("checkpoint_format", "gptq");
  if (fields.flag("is_marlin_format", false)) format = "marlin";
  if (format != "gptq" && format != "gptq_v2") {
    throw UnsupportedError(fields.where() + ": checkpoint_format is \"" + format +
                           "\", whose layout Pare does not read; gptq and gptq_v2 are");
  }
  scheme.version = format == "gptq_v2" ? GptqVersion::v2 : GptqVersion::v1;
  const std::string word = fields.text("pack_dtype", "int32");
  if (word != "int32" && word != "torch.int32") {
    throw UnsupportedError(fields.where() + ": pack_dtype is \"" + word + "\"; only int32 is read");
  }
  const json* dynamic = fields.find("dynamic");
  scheme.overridden = dynamic != nullptr && dynamic->is_object() && !dynamic->empty();
  if (scheme.overridden) {
    // a rule may change the symmetry of a layer; then its zeros are taken as the version says
    for (const auto& [rule, change] : dynamic->items()) {
      if (change.is_object() && change.contains("sym")) scheme.symmetric = false;
    }
  }
  return scheme;
}

std::vector<PackScheme> pack_schemes(const Fields& fields) {
  std::vector<PackScheme> schemes;
  const json* groups = fields.find("config_groups");
  if (groups == nullptr) return schemes;
  if (!groups->is_object()) throw InputError(fields.where() + ": config_groups is " + shown(*groups));
  for (const auto& [name, group] : groups->items()) {
    const Fields outer(group, fields.where() + ": config_groups." + name);
    if (outer.find("weights") == nullptr) continue;
    const Fields weights(*outer.find("weights"), outer.where() + ".weights");
    if (weights.text("type", "int") != "int") continue;
    const std::string strategy = weights.text("strategy", "");
    if (strategy != "" && strategy != "group" && strategy != "channel") continue;  // its layers will fit no scheme
    PackScheme scheme;
    scheme.bits = static_cast<int>(weights.integer("num_bits", nullptr, 8));
    scheme.group = weights.integer("group_size", nullptr, -1);
    scheme.symmetric = weights.flag("symmetric", true);
    const bool known = std::any_of(schemes.begin(), schemes.end(), [&](const PackScheme& s) {
      return s.bits == scheme.bits && s.group == scheme.group && s.symmetric == scheme.symmetric;
    });
    if (!known) schemes.push_back(scheme);
  }
  return schemes;
}

}  // namespace

QuantizationConfig QuantizationConfig::of(const HfFolder& folder) {
  QuantizationConfig result;
  const fs::path legacy = folder.path() / "quantize_config.json";
  json config;
  std::error_code error;
  for (const char* key : {"quantization_config", "compression_config"}) {
    const auto it = folder.config().find(key);
    if (it == folder.config().end() || it->is_null()) continue;
    config = *it;
    result.where = (folder.path() / "config.json").string() + ": " + key;
    break;
  }
  const bool from_legacy = config.is_null() && fs::exists(legacy, error);
  if (from_legacy) {
    config = read_json_file(legacy, size_t{16} << 20);
    result.where = legacy.string();
  }
  if (config.is_null()) return result;

  const Fields fields(config, result.where);
  result.method = fields.text("quant_method", from_legacy ? "gptq" : "");
  if (result.method == "gptq") {
    result.gptq = gptq_scheme(fields);
  } else if (result.method == "compressed-tensors") {
    result.format = fields.text("format", "");
    result.packed = pack_schemes(fields);
    const json* transforms = fields.find("transform_config");
    if (transforms != nullptr && !transforms->empty()) {
      throw UnsupportedError(result.where +
                             ": transform_config is set: the weights are rotated, and the model has to "
                             "rotate its activations to match, which Pare does not");
    }
  } else {
    throw UnsupportedError(result.where + ": quant_method " +
                           (result.method.empty() ? "is missing" : "\"" + result.method + "\" is not supported") +
                           "; gptq and compressed-tensors are read. Start from the unquantized model");
  }
  return result;
}

PackScheme QuantizationConfig::scheme_for(const PackParts& parts) const {
  std::optional<PackScheme> fitting;
  std::string words,
      why = where + ": no config group has integer weights by group or channel, yet there is " + parts.packed.name;
  for (const PackScheme& scheme : packed) {
    std::string described;
    try {
      described = packed_form(parts, scheme).describe();
    } catch (const Error& error) {
      why = error.what();
      continue;
    }
    if (fitting && described != words) {
      throw UnsupportedError(parts.packed.name + ": two config groups fit its shapes (" + words + "; " + described +
                             ")");
    }
    fitting = scheme;
    words = described;
  }
  if (!fitting) throw InputError(why);
  return *fitting;
}

}  // namespace pare
