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

AwqScheme awq_scheme(const Fields& fields) {
  AwqScheme scheme;
  scheme.bits = static_cast<int>(fields.integer("bits", "w_bit", 4));
  scheme.group = fields.integer("group_size", "q_group_size", 128);
  std::string version = fields.text("version", "gemm");
  for (char& letter : version) letter = static_cast<char>(letter >= 'A' && letter <= 'Z' ? letter + 32 : letter);
  if (version != "gemm") {
    throw UnsupportedError(fields.where() + ": version is \"" + version + "\"; only AWQ's gemm layout is read");
  }
  if (!fields.flag("zero_point", true)) {
    throw UnsupportedError(fields.where() + ": zero_point is false; only AWQ with zero points is read");
  }
  return scheme;
}

AqlmScheme aqlm_scheme(const Fields& fields) {
  AqlmScheme scheme;
  const auto count = [&](const char* key, int64_t most) {
    const int64_t value = fields.integer(key, nullptr, 0);
    if (value < 0 || value > most) {
      throw InputError(fields.where() + ": " + key + " is " + std::to_string(value) + ", expected at most " +
                       std::to_string(most));
    }
    return value;
  };
  scheme.bits = static_cast<int>(count("nbits_per_codebook", 16));
  scheme.books = count("num_codebooks", 1 << 16);
  scheme.out_group = count("out_group_size", 1 << 16);
  scheme.in_group = count("in_group_size", 1 << 16);
  return scheme;
}

// [rows, columns] as block_structure and weight_block_size have it.
Fp8Block fp8_block(const json& value, const std::string& where) {
  const auto side = [&](size_t i) {
    constexpr int64_t kLargest = 1 << 30;
    if (!value.is_array() || value.size() != 2 || !value[i].is_number_integer() || value[i] < 1 ||
        value[i] > kLargest) {
      throw InputError(where + " is " + shown(value) + ", expected two counts such as [128, 128]");
    }
    return value[i].get<int64_t>();
  };
  return {side(0), side(1)};
}

// The weights of each config group, with a name for messages.
std::vector<Fields> config_groups(const Fields& fields) {
  std::vector<Fields> result;
  const json* groups = fields.find("config_groups");
  if (groups == nullptr) return result;
  if (!groups->is_object()) throw InputError(fields.where() + ": config_groups is " + shown(*groups));
  for (const auto& [name, group] : groups->items()) {
    const Fields outer(group, fields.where() + ": config_groups." + name);
    if (outer.find("weights") != nullptr) result.emplace_back(*outer.find("weights"), outer.where() + ".weights");
  }
  return result;
}

std::vector<Fp8Block> float_blocks(const Fields& fields) {
  std::vector<Fp8Block> blocks;
  for (const Fields& weights : config_groups(fields)) {
    if (weights.text("type", "int") != "float") continue;
    const std::string strategy = weights.text("strategy", "");
    if (strategy == "block" && weights.find("block_structure") != nullptr) {
      blocks.push_back(fp8_block(*weights.find("block_structure"), weights.where() + ".block_structure"));
    } else if (const int64_t group = weights.integer("group_size", nullptr, -1); strategy == "group" && group > 0) {
      blocks.push_back({1, group});
    }
  }
  return blocks;
}

std::vector<PackScheme> pack_schemes(const Fields& fields) {
  std::vector<PackScheme> schemes;
  for (const Fields& weights : config_groups(fields)) {
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
  // bitsandbytes' older folders do not say whose they are
  const bool unnamed = fields.find("load_in_4bit") != nullptr || fields.find("load_in_8bit") != nullptr;
  result.method = fields.text("quant_method", from_legacy ? "gptq" : unnamed ? "bitsandbytes" : "");
  if (result.method == "gptq") {
    result.gptq = gptq_scheme(fields);
  } else if (result.method == "compressed-tensors") {
    result.format = fields.text("format", "");
    result.packed = pack_schemes(fields);
    result.fp8_blocks = float_blocks(fields);
    const json* transforms = fields.find("transform_config");
    if (transforms != nullptr && !transforms->empty()) {
      throw UnsupportedError(result.where +
                             ": transform_config is set: the weights are rotated, and the model has to "
                             "rotate its activations to match, which Pare does not");
    }
  } else if (result.method == "fp8") {
    if (const json* block = fields.find("weight_block_size"); block != nullptr) {
      result.fp8_blocks.push_back(fp8_block(*block, result.where + ": weight_block_size"));
    }
  } else if (result.method == "awq") {
    result.awq = awq_scheme(fields);
  } else if (result.method == "aqlm") {
    result.aqlm = aqlm_scheme(fields);
  } else if (result.method == "pare") {
    // all is said in the files themselves (pare_layout.h)
  } else if (result.method == "bitsandbytes") {
    if (fields.flag("load_in_8bit", false)) {
      throw UnsupportedError(result.where +
                             ": load_in_8bit: bitsandbytes' 8-bit folders are not read, its 4-bit ones (nf4, fp4) are. "
                             "Start from the unquantized model");
    }
  } else {
    throw UnsupportedError(result.where + ": quant_method " +
                           (result.method.empty() ? "is missing" : "\"" + result.method + "\" is not supported") +
                           "; gptq, awq, aqlm, fp8, bitsandbytes, compressed-tensors and pare are read. Start from the "
                           "unquantized model");
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
