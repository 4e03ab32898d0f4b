#include "pare/pipeline/export_config.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace pare {
namespace {

using nlohmann::json;

// The version of the library whose reader these files were tried with (tests/peers). It decides nothing: layouts are
// told apart by shapes.
constexpr const char* kCompressedTensorsVersion = "0.20.0";

struct Scheme {
  int bits = 0;
  int64_t group = 0;  // -1: the whole row
  bool symmetric = true;
  auto operator<=>(const Scheme&) const = default;
};

// `shared`: groups that are less than a row elsewhere. A row of just that length joins them rather than being a scheme
// of its own: transformers takes only GPTQ folders of a single one.
Scheme scheme_of(const WeightForm& form, const std::set<int64_t>& shared) {
  const bool whole_row = form.group >= form.shape[1] && !shared.contains(form.group);
  return {form.bits, whole_row ? -1 : form.group, form.symmetric};
}

const char* dtype_word(Dtype dtype) {
  switch (dtype) {
    case Dtype::f16:
      return "float16";
    case Dtype::bf16:
      return "bfloat16";
    case Dtype::f32:
      return "float32";
    default:
      return nullptr;
  }
}

// The modules of each scheme, in the order of the model; and the linears that have none.
struct Groups {
  std::map<Scheme, std::vector<std::string>> modules;
  std::vector<std::string> dense;
  std::vector<std::string> pruned;  // kept as bitmasks
};

Groups group_modules(const ExportJob& job, const std::vector<StoredAs>& as) {
  Groups groups;
  std::set<int64_t> shared;
  for (const ExportParameter& parameter : job.parameters) {
    const WeightForm& form = parameter.form;
    if (form.kind == WeightForm::Kind::grouped_ints && form.group < form.shape[1]) shared.insert(form.group);
  }
  bool has_head = false;
  for (size_t i = 0; i < job.parameters.size(); ++i) {
    const ExportParameter& parameter = job.parameters[i];
    const std::string module = module_of(parameter.name);
    has_head = has_head || module == "lm_head";
    if (as[i] == StoredAs::gptq || as[i] == StoredAs::gptq_v2 || as[i] == StoredAs::packed) {
      groups.modules[scheme_of(parameter.form, shared)].push_back(module);
    } else if (as[i] == StoredAs::bitmask || as[i] == StoredAs::bitmask_24) {
      groups.pruned.push_back(module);
    } else if (is_linear(parameter)) {
      groups.dense.push_back(module);
    }
  }
  if (!has_head) groups.dense.push_back("lm_head");  // tied: loaders have the module all the same
  return groups;
}

std::vector<std::string> with_prefix(const std::string& prefix, std::vector<std::string> texts) {
  for (std::string& text : texts) text = prefix + text;
  return texts;
}

json gptq_config(const ExportJob& job, const std::vector<StoredAs>& as, const Groups& groups, bool act_order) {
  const auto main = std::max_element(groups.modules.begin(), groups.modules.end(),
                                     [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  const bool v2 = std::find(as.begin(), as.end(), StoredAs::gptq_v2) != as.end();
  json dynamic = json::object();
  for (const auto& group : groups.modules) {
    if (group.first == main->first) continue;
    for (const std::string& pattern : with_prefix("+:", module_patterns(group.second))) {
      dynamic[pattern] = {
          {"bits", group.first.bits}, {"group_size", group.first.group}, {"sym", group.first.symmetric}};
    }
  }
  std::vector<std::string> left_alone;
  for (const std::string& module : groups.dense) {
    if (module != "lm_head") left_alone.push_back(module);
  }
  for (const std::string& pattern : with_prefix("-:", module_patterns(left_alone))) dynamic[pattern] = json::object();
  json config = {{"quant_method", "gptq"},
                 {"bits", main->first.bits},
                 {"group_size", main->first.group},
                 {"sym", main->first.symmetric},
                 {"desc_act", act_order},
                 {"checkpoint_format", v2 ? "gptq_v2" : "gptq"},
                 {"pack_dtype", "int32"},
                 {"lm_head", false},
                 {"static_groups", job.static_groups},
                 {"true_sequential", job.true_sequential},
                 {"meta", {{"quantizer", {"pare"}}}}};
  if (job.method == "gptq" || job.method == "sparsegpt") config["damp_percent"] = job.damp;
  if (!dynamic.empty()) config["dynamic"] = dynamic;
  return config;
}

json pack_group(const Scheme& scheme, std::vector<std::string> targets, bool act_order) {
  json weights = {{"num_bits", scheme.bits},
                  {"type", "int"},
                  {"symmetric", scheme.symmetric},
                  {"strategy", scheme.group == -1 ? "channel" : "group"},
                  {"group_size", scheme.group == -1 ? json(nullptr) : json(scheme.group)},
                  {"dynamic", false}};
  weights["actorder"] = act_order ? json("weight") : json(nullptr);
  return {{"targets", std::move(targets)},
          {"weights", std::move(weights)},
          {"input_activations", nullptr},
          {"output_activations", nullptr}};
}

json compressed_tensors_config(const ExportJob& job, const std::vector<StoredAs>& as, const Groups& groups) {
  const bool quantized = !groups.modules.empty();
  json config = {{"quant_method", "compressed-tensors"}, {"format", quantized ? "pack-quantized" : "dense"},
                 {"quantization_status", "compressed"},  {"config_groups", json::object()},
                 {"global_compression_ratio", nullptr},  {"ignore", groups.dense},
                 {"kv_cache_scheme", nullptr},           {"version", kCompressedTensorsVersion}};
  int number = 0;
  for (const auto& [scheme, modules] : groups.modules) {
    std::vector<std::string> targets = {"Linear"};
    if (groups.modules.size() > 1 || !groups.pruned.empty() || groups.dense.size() > 8) {
      targets = with_prefix("re:", module_patterns(modules));
    }
    config["config_groups"]["group_" + std::to_string(number++)] =
        pack_group(scheme, std::move(targets), job.act_order && job.method == "gptq");
  }
  if (!groups.pruned.empty()) {
    const bool two_of_four = std::find(as.begin(), as.end(), StoredAs::bitmask_24) != as.end();
    int64_t kept = 0, all = 0;
    for (size_t i = 0; i < as.size(); ++i) {
      if (as[i] != StoredAs::bitmask && as[i] != StoredAs::bitmask_24) continue;
      kept += job.parameters[i].form.kept;
      all += job.parameters[i].form.elements();
    }
    config["sparsity_config"] = {{"format", two_of_four ? "sparse-24-bitmask" : "sparse-bitmask"},
                                 {"global_sparsity", 1 - static_cast<double>(kept) / static_cast<double>(all)},
                                 {"ignore", groups.dense},
                                 {"registry_requires_subclass", false},
                                 {"sparsity_structure", two_of_four ? "2:4" : "unstructured"},
                                 {"targets", with_prefix("re:", module_patterns(groups.pruned))}};
  }
  return config;
}

json aqlm_config(const ExportJob& job, const std::vector<StoredAs>& as) {
  const auto first = static_cast<size_t>(std::find(as.begin(), as.end(), StoredAs::aqlm) - as.begin());
  const WeightForm& form = job.parameters[first].form;
  // transformers replaces every linear that is not listed here: up to 4 it goes by the weight's name, 5 by the module's
  std::vector<std::string> dense;
  const auto leave = [&](const std::string& module) {
    dense.push_back(module);
    dense.push_back(module + ".weight");
  };
  bool has_head = false;
  for (size_t i = 0; i < as.size(); ++i) {
    has_head = has_head || job.parameters[i].name == "lm_head.weight";
    if (as[i] == StoredAs::dense && is_linear(job.parameters[i])) leave(module_of(job.parameters[i].name));
  }
  if (!has_head) leave("lm_head");
  return {{"quant_method", "aqlm"},      {"in_group_size", form.group},     {"out_group_size", form.out_group},
          {"num_codebooks", form.books}, {"nbits_per_codebook", form.bits}, {"linear_weights_not_to_quantize", dense}};
}

}  // namespace

Dtype main_dtype(const ExportJob& job) {
  std::map<Dtype, int64_t> elements;
  for (const ExportParameter& parameter : job.parameters) {
    if (dtype_word(parameter.form.dtype) != nullptr) elements[parameter.form.dtype] += parameter.form.elements();
  }
  const auto most = std::max_element(elements.begin(), elements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == elements.end() ? Dtype::f32 : most->first;
}

json export_config(const ExportJob& job, const std::vector<StoredAs>& as, bool act_order) {
  json config = job.source->config();
  config.erase("quantization_config");
  config.erase("compression_config");
  const std::string dtype_key = config.contains("dtype") ? "dtype" : "torch_dtype";
  config[dtype_key] = dtype_word(main_dtype(job));
  const Groups groups = group_modules(job, as);
  if (job.format == OutputFormat::gptq && !groups.modules.empty()) {
    config["quantization_config"] = gptq_config(job, as, groups, act_order);
  }
  if (job.format == OutputFormat::compressed_tensors && (!groups.modules.empty() || !groups.pruned.empty())) {
    config["quantization_config"] = compressed_tensors_config(job, as, groups);
  }
  if (std::find(as.begin(), as.end(), StoredAs::aqlm) != as.end()) {
    config["quantization_config"] = aqlm_config(job, as);
  }
  // so that other software refuses the folder instead of missing its weights
  if (std::find(as.begin(), as.end(), StoredAs::pare) != as.end()) {
    config["quantization_config"] = {{"quant_method", "pare"}};
  }
  return config;
}

std::vector<std::string> module_patterns(const std::vector<std::string>& modules) {
  // (what stands before the block's number, what stands after it) -> the numbers
  std::vector<std::pair<std::pair<std::string, std::string>, std::vector<std::string>>> kinds;
  for (const std::string& module : modules) {
    constexpr std::string_view marker = ".layers.";
    std::pair<std::string, std::string> key(module, "");
    std::string number;
    if (const size_t found = module.find(marker); found != std::string::npos) {
      const size_t begin = found + marker.size();
      const size_t end = module.find_first_not_of("0123456789", begin);
      if (end != std::string::npos && end > begin && module[end] == '.') {
        key = {module.substr(0, begin), module.substr(end)};
        number = module.substr(begin, end - begin);
      }
    }
    const auto known = std::find_if(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.first == key; });
    if (known == kinds.end()) {
      kinds.push_back({key, {number}});
    } else {
      known->second.push_back(number);
    }
  }
  const auto escaped = [](const std::string& text) {
    std::string out;
    for (const char c : text) {
      if (std::string_view(".^$|()[]{}*+?\\").find(c) != std::string_view::npos) out += '\\';
      out += c;
    }
    return out;
  };
  std::vector<std::string> patterns;
  for (auto& [key, numbers] : kinds) {
    std::stable_sort(numbers.begin(), numbers.end(), [](const std::string& a, const std::string& b) {
      return std::pair(a.size(), a) < std::pair(b.size(), b);
    });
    std::string middle;
    for (const std::string& number : numbers) middle += (middle.empty() ? "" : "|") + number;
    std::string pattern(1, '^');
    pattern += escaped(key.first);
    pattern += numbers.size() > 1 ? std::string(1, '(') + middle + ')' : middle;
    pattern += escaped(key.second) + '$';
    patterns.push_back(pattern);
  }
  return patterns;
}

}  // namespace pare
