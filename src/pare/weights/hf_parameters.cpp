#include <nlohmann/json.hpp>
#include <regex>

#include "pare/base/error.h"
#include "pare/io/hf_folder.h"
#include "pare/weights/bitmask_layout.h"
#include "pare/weights/compressed_tensors_layout.h"
#include "pare/weights/gptq_layout.h"
#include "pare/weights/model_source.h"

namespace pare {
namespace {

using nlohmann::json;

class Folder {
 public:
  explicit Folder(const HfFolder& folder) : folder_(folder) {}

  const HfFolder& files() const { return folder_; }
  bool has(const std::string& name) const { return folder_.find(name) != nullptr; }
  StoredView view(const std::string& name) const {
    const TensorInfo* tensor = folder_.find(name);
    if (tensor == nullptr)
      throw InputError(folder_.path().string() + ": no tensor " + name + ", which the layer's other tensors need");
    if (!tensor->dtype) throw UnsupportedError(name + ": its type, " + tensor->dtype_name + ", is not supported");
    return {name, *tensor->dtype, tensor->shape, folder_.bytes(name)};
  }
  std::optional<StoredView> view_if(const std::string& name) const {
    return has(name) ? std::optional(view(name)) : std::nullopt;
  }
  uint64_t bytes(const std::vector<std::string>& names) const {
    uint64_t total = 0;
    for (const std::string& name : names) total += has(name) ? folder_.find(name)->bytes() : 0;
    return total;
  }

 private:
  const HfFolder& folder_;
};

// One parameter made of several stored tensors. A layer that cannot be read is listed with the reason.
SourceParameter composed(const Folder& folder, const std::string& name, std::vector<std::string> stored,
                         const std::function<WeightForm()>& form, std::function<Weight()> read) {
  SourceParameter parameter;
  parameter.info.name = name;
  parameter.info.bytes = folder.bytes(stored);
  try {
    parameter.info.form = form();
    parameter.info.shape = parameter.info.form.shape;
    parameter.info.format = parameter.info.form.describe();
  } catch (const Error& error) {
    parameter.info.readable = false;
    parameter.info.why_not = error.what();
    parameter.info.format = "damaged or unsupported";
  }
  parameter.stored = std::move(stored);
  parameter.read = std::move(read);
  return parameter;
}

SourceParameter dense(const Folder& folder, const std::string& name) {
  SourceParameter parameter;
  const TensorInfo* tensor = folder.files().find(name);
  parameter.info.name = name;
  parameter.info.shape = tensor->shape;
  parameter.info.bytes = tensor->bytes();
  parameter.info.format = tensor->dtype_name;
  parameter.stored = {name};
  parameter.info.form.shape = tensor->shape;
  if (!tensor->dtype) {
    parameter.info.readable = false;
    parameter.info.why_not = "type " + tensor->dtype_name + " is not supported";
    return parameter;
  }
  parameter.info.form.dtype = *tensor->dtype;
  parameter.info.form.kept = parameter.info.form.elements();
  parameter.read = [folder, tensor, name] {
    return Weight{tensor->shape,
                  Dense{*tensor->dtype, Bytes::view(folder.files().bytes(name), folder.files().mapping(name))},
                  {}};
  };
  return parameter;
}

GptqScheme gptq_scheme(const json& config) {
  GptqScheme scheme;
  scheme.bits = config.value("bits", config.value("w_bit", 4));
  scheme.group = config.value("group_size", config.value("q_group_size", int64_t{128}));
  scheme.symmetric = config.value("sym", true);
  scheme.act_order = config.value("desc_act", false);
  const std::string format = config.value("checkpoint_format", config.value("format", "gptq"));
  if (format != "gptq" && format != "gptq_v2")
    throw UnsupportedError("quantization_config: GPTQ checkpoint format \"" + format + "\" is not supported");
  scheme.version = format == "gptq_v2" ? GptqVersion::v2 : GptqVersion::v1;
  scheme.overridden = config.contains("dynamic") && config["dynamic"].is_object() && !config["dynamic"].empty();
  return scheme;
}

SourceParameter gptq_layer(const Folder& folder, const std::string& module, const GptqScheme& scheme) {
  const auto parts = [folder, module] {
    return GptqParts{folder.view(module + ".qweight"), folder.view(module + ".qzeros"), folder.view(module + ".scales"),
                     folder.view_if(module + ".g_idx")};
  };
  return composed(
      folder, module + ".weight", {module + ".qweight", module + ".qzeros", module + ".scales", module + ".g_idx"},
      [=] { return gptq_form(parts(), scheme); }, [=] { return unpack_gptq(parts(), scheme); });
}

bool target_matches(const std::string& target, const std::string& module) {
  if (target == "Linear") return true;
  if (target.starts_with("re:")) return std::regex_match(module, std::regex(target.substr(3)));
  return target == module;
}

// The scheme of the first group of quantization_config that targets this module.
PackScheme pack_scheme(const json& config, const std::string& module) {
  for (const auto& [name, group] : config.at("config_groups").items()) {
    for (const json& target : group.at("targets")) {
      if (!target_matches(target.get<std::string>(), module)) continue;
      const json& weights = group.at("weights");
      if (weights.value("type", "int") != "int")
        throw UnsupportedError(module + ": weights of type " + weights["type"].dump() + " are not supported");
      PackScheme scheme;
      scheme.bits = weights.at("num_bits").get<int>();
      scheme.symmetric = weights.value("symmetric", true);
      const bool grouped = weights.contains("group_size") && weights["group_size"].is_number_integer();
      scheme.group = grouped ? weights["group_size"].get<int64_t>() : -1;
      return scheme;
    }
  }
  throw InputError(module + ": is packed, but no group of quantization_config targets it");
}

SourceParameter packed_layer(const Folder& folder, const std::string& module, const json& config) {
  const auto parts = [folder, module] {
    return PackParts{folder.view(module + ".weight_packed"), folder.view(module + ".weight_scale"),
                     folder.view(module + ".weight_shape"), folder.view_if(module + ".weight_zero_point"),
                     folder.view_if(module + ".weight_g_idx")};
  };
  return composed(
      folder, module + ".weight",
      {module + ".weight_packed", module + ".weight_scale", module + ".weight_shape", module + ".weight_zero_point",
       module + ".weight_g_idx"},
      [=] { return packed_form(parts(), pack_scheme(config, module)); },
      [=] { return unpack_packed(parts(), pack_scheme(config, module)); });
}

// `stem` is what stands before ".bitmask": the parameter's full name, or the module for 2:4.
SourceParameter bitmask_layer(const Folder& folder, const std::string& stem) {
  const auto parts = [folder, stem] {
    return BitmaskParts{folder.view(stem + ".shape"), folder.view(stem + ".compressed"), folder.view(stem + ".bitmask"),
                        folder.view_if(stem + ".row_offsets")};
  };
  const std::string name = stem.ends_with(".weight") ? stem : stem + ".weight";
  return composed(
      folder, name, {stem + ".shape", stem + ".compressed", stem + ".bitmask", stem + ".row_offsets"},
      [=] { return bitmask_form(parts()); }, [=] { return unpack_bitmask(parts()); });
}

// "model.layers.0.mlp.down_proj.qweight" -> the part before ".qweight"; nothing when it does not end so.
std::optional<std::string> stem_of(const std::string& name, const std::string& suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  return name.substr(0, name.size() - suffix.size());
}

}  // namespace

std::vector<SourceParameter> hf_parameters(const HfFolder& hf, std::string& format) {
  const Folder folder(hf);
  json config = json::object();
  if (hf.config().contains("quantization_config")) config = hf.config()["quantization_config"];
  if (hf.config().contains("compression_config")) config = hf.config()["compression_config"];
  const std::string where = (hf.path() / "config.json").string() + ": quantization_config: ";
  if (!config.is_object()) throw InputError(where + "not an object");
  std::vector<SourceParameter> parameters;
  try {
    const std::string method = config.value("quant_method", "");
    if (!method.empty() && method != "gptq" && method != "compressed-tensors") {
      throw UnsupportedError(where + "quant_method \"" + method +
                             "\" is not supported; gptq and compressed-tensors are");
    }
    format = method.empty() ? "safetensors" : method;
    std::map<std::string, bool> used;
    for (const std::string& name : hf.tensor_names()) {
      std::optional<SourceParameter> parameter;
      if (const auto module = stem_of(name, ".qweight"); module && method == "gptq")
        parameter = gptq_layer(folder, *module, gptq_scheme(config));
      if (const auto module = stem_of(name, ".weight_packed"); module && method == "compressed-tensors")
        parameter = packed_layer(folder, *module, config);
      if (const auto stem = stem_of(name, ".bitmask")) parameter = bitmask_layer(folder, *stem);
      if (!parameter) continue;
      for (const std::string& stored : parameter->stored) used[stored] = true;
      parameters.push_back(std::move(*parameter));
    }
    for (const std::string& name : hf.tensor_names()) {
      if (!used.contains(name)) parameters.push_back(dense(folder, name));
    }
  } catch (const json::exception& error) {
    throw InputError(where + error.what());
  } catch (const std::regex_error& error) {
    throw InputError(where + "a target is not a regular expression: " + error.what());
  }
  return parameters;
}

}  // namespace pare
