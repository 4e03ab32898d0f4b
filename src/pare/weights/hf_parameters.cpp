#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "pare/base/error.h"
#include "pare/io/hf_folder.h"
#include "pare/weights/bitmask_layout.h"
#include "pare/weights/grouped_ints.h"
#include "pare/weights/int8_layout.h"
#include "pare/weights/model_source.h"
#include "pare/weights/nf4_layout.h"
#include "pare/weights/pare_layout.h"
#include "pare/weights/quantization_config.h"

namespace pare {
namespace {

bool ends_with_any(const std::string& name, std::initializer_list<const char*> suffixes, std::string& stem) {
  for (const char* suffix : suffixes) {
    if (name.ends_with(suffix)) {
      stem = name.substr(0, name.size() - std::string_view(suffix).size());
      return true;
    }
  }
  return false;
}

// All that the readers below need of a folder; it outlives them (both are part of one ModelFiles).
class Parts {
 public:
  Parts(const HfFolder& folder, QuantizationConfig config) : folder_(folder), config_(std::move(config)) {
    for (const SafetensorsFile& file : folder.files()) {
      if (auto forms = pare_forms(file.metadata(), file.path().string())) forms_.merge(*forms);
    }
  }

  const QuantizationConfig& config() const { return config_; }
  const HfFolder& folder() const { return folder_; }
  bool has(const std::string& name) const { return folder_.find(name) != nullptr; }

  StoredView view(const std::string& name) const {
    const TensorInfo* tensor = folder_.find(name);
    if (tensor == nullptr) {
      throw InputError("no tensor " + name + ", which the layer's other tensors need. Download the folder again");
    }
    if (!tensor->dtype) throw UnsupportedError(name + ": type " + tensor->dtype_name + " is not supported");
    return {name, *tensor->dtype, tensor->shape, folder_.bytes(name)};
  }
  std::optional<StoredView> view_if(const std::string& name) const {
    return has(name) ? std::optional(view(name)) : std::nullopt;
  }

  GptqParts gptq(const std::string& m) const {
    return {view(m + ".qweight"), view(m + ".qzeros"), view(m + ".scales"), view_if(m + ".g_idx")};
  }
  PackParts packed(const std::string& m) const {
    if (has(m + ".scale_packed")) throw UnsupportedError(m + ": marlin-24 layers are not read");
    if (config_.format.find("fp4") != std::string::npos) {
      throw UnsupportedError(m + ": " + config_.format + " layers are not read");
    }
    return {view(m + ".weight_packed"), view(m + ".weight_scale"), view(m + ".weight_shape"),
            view_if(m + ".weight_zero_point"), view_if(m + ".weight_g_idx")};
  }
  BitmaskParts bitmask(const std::string& stem) const {
    return {view(stem + ".shape"), view(stem + ".compressed"), view(stem + ".bitmask"), view_if(stem + ".row_offsets")};
  }
  AwqParts awq(const std::string& m) const { return {view(m + ".qweight"), view(m + ".qzeros"), view(m + ".scales")}; }
  AqlmParts aqlm(const std::string& m) const {
    return {view(m + ".codes"), view(m + ".codebooks"), view(m + ".scales")};
  }
  Fp8Parts fp8(const std::string& m) const {
    if (const auto zeros = view_if(m + ".weight_zero_point")) {
      const bool none =
          std::all_of(zeros->data.begin(), zeros->data.end(), [](std::byte b) { return b == std::byte{0}; });
      if (!none) throw UnsupportedError(zeros->name + ": FP8 weights with zero points are not read");
    }
    return {view(m + ".weight"), view(m + fp8_scale())};
  }
  Int8Parts int8(const std::string& m) const {
    return {view(m + ".weight"), view(m + ".weight_scale"), view_if(m + ".weight_zero_point")};
  }
  Nf4Parts nf4(const std::string& w) const {  // here the full name, with ".weight"
    return {view(w),
            view(w + ".absmax"),
            view(w + ".quant_map"),
            view(w + nf4_state_suffix(w)),
            view_if(w + ".nested_absmax"),
            view_if(w + ".nested_quant_map")};
  }

  // In Pare's own layout; null: not one of its weights.
  const WeightForm* form(const std::string& weight) const {
    const auto found = forms_.find(weight);
    return found == forms_.end() ? nullptr : &found->second;
  }
  WeightForm checked_form(const std::string& weight) const {
    for (const TensorSpec& tensor : pare_tensors(*form(weight), weight)) {
      expect_stored(view(tensor.name), {tensor.dtype}, tensor.shape);
    }
    return *form(weight);
  }

  bool is_type(const std::string& name, Dtype dtype) const {
    const TensorInfo* tensor = folder_.find(name);
    return tensor != nullptr && tensor->dtype == dtype;
  }
  // Of compressed-tensors and of transformers' fp8.
  const char* fp8_scale() const { return config_.method == "fp8" ? ".weight_scale_inv" : ".weight_scale"; }
  const char* nf4_state_suffix(const std::string& weight) const {
    constexpr const char* kFp4 = ".quant_state.bitsandbytes__fp4";
    return has(weight + kFp4) ? kFp4 : ".quant_state.bitsandbytes__nf4";
  }
  // The group size of the config that suits scales of this shape; -1: none.
  int64_t int8_group(const Int8Parts& parts) const {
    for (const PackScheme& scheme : config_.packed) {
      if (scheme.group > 0 && parts.scale.shape.size() == 2 && parts.weight.shape.size() == 2 &&
          groups_in(parts.weight.shape[1], scheme.group) == parts.scale.shape[1]) {
        return scheme.group;
      }
    }
    return -1;
  }

 private:
  const HfFolder& folder_;
  QuantizationConfig config_;
  std::map<std::string, WeightForm> forms_;
};
using SharedParts = std::shared_ptr<const Parts>;

// How a stored tensor belongs to a parameter.
struct Belonging {
  enum class Kind { dense, pare, gptq, packed, bitmask, awq, aqlm, fp8, int8, nf4 } kind = Kind::dense;
  std::string parameter;
  std::string stem;  // of the stored tensors' names
};

Belonging belonging_of(const Parts& parts, const std::string& name) {
  std::string stem;
  if (ends_with_any(name, {".codes", ".scales", ".zeros", ".group_index", ".blocks", ".codebooks", ".values", ".mask"},
                    stem) &&
      parts.form(stem) != nullptr) {
    return {Belonging::Kind::pare, stem, stem};
  }
  const std::string& method = parts.config().method;
  const bool gptq = method == "gptq", compressed = method == "compressed-tensors";
  if ((gptq || method == "awq") && ends_with_any(name, {".qweight", ".qzeros", ".scales", ".g_idx"}, stem) &&
      parts.has(stem + ".qweight")) {
    return {gptq ? Belonging::Kind::gptq : Belonging::Kind::awq, stem + ".weight", stem};
  }
  if (method == "aqlm" && ends_with_any(name, {".codes", ".codebooks", ".scales"}, stem) &&
      parts.has(stem + ".codebooks")) {
    return {Belonging::Kind::aqlm, stem + ".weight", stem};
  }
  if (compressed &&
      ends_with_any(name,
                    {".weight_packed", ".weight_scale", ".weight_shape", ".weight_zero_point", ".weight_g_idx",
                     ".scale_packed", ".meta", ".input_scale", ".input_zero_point"},
                    stem) &&
      parts.has(stem + ".weight_packed")) {
    return {Belonging::Kind::packed, stem + ".weight", stem};
  }
  if ((compressed || method == "fp8") &&
      ends_with_any(name,
                    {".weight", ".weight_scale", ".weight_scale_inv", ".weight_zero_point", ".weight_g_idx",
                     ".input_scale", ".input_zero_point", ".activation_scale"},
                    stem) &&
      parts.has(stem + parts.fp8_scale())) {
    if (parts.is_type(stem + ".weight", Dtype::f8_e4m3)) return {Belonging::Kind::fp8, stem + ".weight", stem};
    if (parts.is_type(stem + ".weight", Dtype::i8)) return {Belonging::Kind::int8, stem + ".weight", stem};
  }
  if (method == "bitsandbytes") {
    stem = name;
    ends_with_any(name,
                  {".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".quant_state.bitsandbytes__nf4",
                   ".quant_state.bitsandbytes__fp4"},
                  stem);
    if (parts.has(stem + ".quant_map") && parts.has(stem)) return {Belonging::Kind::nf4, stem, stem};
  }
  if (ends_with_any(name, {".shape", ".compressed", ".bitmask", ".row_offsets"}, stem) &&
      parts.has(stem + ".bitmask")) {
    // older versions put sparse-bitmask's suffixes after the full name, ".weight" included
    return {Belonging::Kind::bitmask, stem.ends_with(".weight") ? stem : stem + ".weight", stem};
  }
  return {Belonging::Kind::dense, name, name};
}

// Values that mean nothing without another tensor of the file: the reason, or nothing.
std::string needs_more_than_itself(const Parts& parts, const std::string& name) {
  std::string module;
  if (!ends_with_any(name, {".weight"}, module)) return {};
  for (const char* suffix : {".weight_scale", ".weight_scale_inv", ".weight.absmax", ".weight.quant_state"}) {
    if (!parts.has(module + suffix)) continue;
    const std::string& format = parts.config().format;
    return "quantized with scales in " + module + suffix + (format.empty() ? "" : " (" + format + ")") +
           ", and config.json has no quantization_config for weights of this type that Pare reads. Start from the "
           "unquantized model";
  }
  return {};
}

void describe_dense(const Parts& parts, const TensorInfo& tensor, SourceParameter& parameter) {
  ParameterInfo& info = parameter.info;
  info.form.shape = info.shape = tensor.shape;
  info.format = tensor.dtype_name;
  info.why_not = needs_more_than_itself(parts, tensor.name);
  if (!tensor.dtype) info.why_not = "type " + tensor.dtype_name + " is not supported";
  info.readable = info.why_not.empty();
  if (!tensor.dtype) return;
  info.form.dtype = *tensor.dtype;
  info.form.kept = info.form.elements();
}

SourceParameter parameter_of(const SharedParts& parts, const Belonging& owner) {
  SourceParameter parameter;
  parameter.info.name = owner.parameter;
  const std::string stem = owner.stem;
  std::function<WeightForm()> form;
  std::function<std::string()> words;  // where the form, f32, would not say what the file holds
  switch (owner.kind) {
    case Belonging::Kind::dense: {
      const TensorInfo* tensor = parts->folder().find(owner.parameter);
      describe_dense(*parts, *tensor, parameter);
      parameter.read = [parts, tensor] {
        const HfFolder& folder = parts->folder();
        Bytes data = Bytes::view(folder.bytes(tensor->name), folder.mapping(tensor->name));
        return Weight{tensor->shape, Dense{*tensor->dtype, std::move(data)}, {}};
      };
      return parameter;
    }
    case Belonging::Kind::pare:
      form = [parts, stem] { return parts->checked_form(stem); };
      parameter.read = [parts, stem] {
        return unpack_pare(*parts->form(stem), stem, [&](const std::string& name) { return parts->view(name); });
      };
      break;
    case Belonging::Kind::gptq:
      form = [parts, stem] { return gptq_form(parts->gptq(stem), parts->config().gptq); };
      parameter.read = [parts, stem] { return unpack_gptq(parts->gptq(stem), parts->config().gptq); };
      break;
    case Belonging::Kind::packed:
      form = [parts, stem] {
        const PackParts stored = parts->packed(stem);
        return packed_form(stored, parts->config().scheme_for(stored));
      };
      parameter.read = [parts, stem] {
        const PackParts stored = parts->packed(stem);
        return unpack_packed(stored, parts->config().scheme_for(stored));
      };
      break;
    case Belonging::Kind::bitmask:
      form = [parts, stem] { return bitmask_form(parts->bitmask(stem)); };
      parameter.read = [parts, stem] { return unpack_bitmask(parts->bitmask(stem)); };
      break;
    case Belonging::Kind::awq:
      form = [parts, stem] { return awq_form(parts->awq(stem), parts->config().awq); };
      parameter.read = [parts, stem] { return unpack_awq(parts->awq(stem), parts->config().awq); };
      break;
    case Belonging::Kind::aqlm:
      form = [parts, stem] { return aqlm_form(parts->aqlm(stem), parts->config().aqlm); };
      parameter.read = [parts, stem] { return unpack_aqlm(parts->aqlm(stem), parts->config().aqlm); };
      break;
    case Belonging::Kind::fp8:
      form = [parts, stem] { return fp8_form(parts->fp8(stem), parts->config().fp8_blocks); };
      words = [parts, stem] { return fp8_words(parts->fp8(stem), parts->config().fp8_blocks); };
      parameter.read = [parts, stem] { return unpack_fp8(parts->fp8(stem), parts->config().fp8_blocks); };
      break;
    case Belonging::Kind::int8:
      form = [parts, stem] {
        if (parts->has(stem + ".weight_g_idx"))
          throw UnsupportedError(stem + ": int8 layers with a weight_g_idx are not read");
        const Int8Parts stored = parts->int8(stem);
        return int8_form(stored, parts->int8_group(stored));
      };
      parameter.read = [parts, stem] {
        const Int8Parts stored = parts->int8(stem);
        return unpack_int8(stored, parts->int8_group(stored));
      };
      break;
    case Belonging::Kind::nf4:
      form = [parts, stem] { return nf4_form(parts->nf4(stem)); };
      words = [parts, stem] { return nf4_words(parts->nf4(stem)); };
      parameter.read = [parts, stem] { return unpack_nf4(parts->nf4(stem)); };
      break;
  }
  ParameterInfo& info = parameter.info;
  try {
    info.form = form();
    info.shape = info.form.shape;
    info.format = words ? words() : info.form.describe();
  } catch (const Error& error) {
    // listed with the reason; what can still be read of the model can be looked at
    info.readable = false;
    info.why_not = error.what();
    parameter.damaged = error.code() == Exit::bad_input;
    info.format = parameter.damaged ? "damaged" : "unsupported";
  }
  return parameter;
}

}  // namespace

std::vector<SourceParameter> hf_parameters(const HfFolder& folder, std::string& format) {
  const auto parts = std::make_shared<const Parts>(folder, QuantizationConfig::of(folder));
  format = parts->config().method.empty() ? "safetensors" : parts->config().method;
  std::vector<SourceParameter> parameters;
  std::map<std::string, size_t> places;  // by kind and stem: a parameter appears where its first tensor does
  for (const std::string& name : folder.tensor_names()) {
    const Belonging owner = belonging_of(*parts, name);
    const std::string key = std::to_string(static_cast<int>(owner.kind)) + owner.stem;
    const auto [place, is_new] = places.emplace(key, parameters.size());
    if (is_new) parameters.push_back(parameter_of(parts, owner));
    SourceParameter& parameter = parameters[place->second];
    parameter.stored.push_back(name);
    parameter.info.bytes += folder.find(name)->bytes();
  }
  return parameters;
}

}  // namespace pare
