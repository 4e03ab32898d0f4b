#include "pare/pipeline/tensor_types.h"

#include <algorithm>
#include <set>

#include "pare/base/error.h"
#include "pare/base/units.h"
#include "pare/pipeline/gguf_mix.h"
#include "pare/pipeline/name_match.h"
#include "pare/weights/decoder_config.h"
#include "pare/weights/decoder_names.h"
#include "pare/weights/gguf_model.h"

namespace pare {
namespace {

// Every type that Pare rounds to and that is not a mix, the smallest first.
const std::vector<const GgmlType*>& all_types() {
  static const std::vector<const GgmlType*> types = [] {
    std::vector<const GgmlType*> list;
    for (const std::string& name : mix_names()) {
      if (!is_mix(name) && !name.starts_with("TQ")) list.push_back(ggml_type_named(name));
    }
    std::stable_sort(list.begin(), list.end(),
                     [](const auto* a, const auto* b) { return a->bits_per_weight() < b->bits_per_weight(); });
    return list;
  }();
  return types;
}

// Matrices that may have a type of their own: linears of blocks, embedding and head.
std::vector<OpenTensor> matrices(const ModelFiles& files) {
  std::vector<OpenTensor> result;
  const auto names = decoder_names(files);
  if (!names) return result;
  const DecoderConfig config = DecoderConfig::from_hf(files.config());
  for (const ParameterInfo& parameter : files.parameters()) {
    const auto linear = linear_name(parameter, *names);
    const bool table =
        parameter.name == names->prefix + "embed_tokens.weight" || parameter.name == names->head + ".weight";
    if (table || (linear && linear->block < config.layers)) {
      result.push_back({module_of(parameter.name), parameter.form.shape});
    }
  }
  return result;
}

}  // namespace

void add_tensor_types(const std::vector<std::string>& assignments, const ModelFiles& files, Recipe& recipe) {
  const GgufModel model = GgufModel::of_config(files.config());
  const std::vector<OpenTensor> tensors = matrices(files);
  for (const std::string& assignment : assignments) {
    const size_t equals = assignment.rfind('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == assignment.size()) {
      throw UsageError("--tensor-type " + assignment + ": expected REGEX=TYPE, such as attn_v=Q6_K");
    }
    const std::string expression = assignment.substr(0, equals), type = assignment.substr(equals + 1);
    if (type != "none") {
      require_mix(type, "--tensor-type " + assignment);
      if (is_mix(type)) throw UsageError("--tensor-type " + assignment + ": " + type + " is a mix; name one type");
    }
    const NameMatch match("re:.*(?:" + expression + ")");
    int found = 0;
    for (const OpenTensor& tensor : tensors) {
      const std::string name = tensor.layer + ".weight";
      if (!match.matches(name) && !match.matches(model.gguf_name(name).value_or(""))) continue;
      ++found;
      LayerOverride one{.match = tensor.layer, .patch = {}};
      if (type == "none") {
        one.patch.method = "none";
      } else {
        one.patch.type = type;
      }
      recipe.layers.push_back(std::move(one));
    }
    if (found == 0) {
      throw UsageError("--tensor-type " + assignment + ": \"" + expression +
                       "\" is found in no matrix's name. `pare inspect --tensors` lists them");
    }
  }
}

Recipe with_types(Recipe recipe, const std::map<std::string, const GgmlType*>& types) {
  for (const auto& [layer, type] : types) {
    LayerOverride one{.match = layer, .patch = {}};
    one.patch.type = std::string(type->name);
    recipe.layers.push_back(std::move(one));
  }
  return recipe;
}

std::vector<const GgmlType*> types_for_rows(int64_t cols) {
  std::vector<const GgmlType*> types;
  for (const GgmlType* type : all_types()) {
    if (cols % type->block_elements == 0) types.push_back(type);
  }
  return types;
}

std::vector<OpenTensor> open_tensors(const ModelFiles& files, const Recipe& recipe) {
  std::vector<OpenTensor> open;
  for (OpenTensor& tensor : matrices(files)) {
    const LayerWish wish = recipe.wish_for(tensor.layer);
    if (wish.method != "none" && wish.bits == 0 && wish.type.empty()) open.push_back(std::move(tensor));
  }
  return open;
}

std::map<std::string, const GgmlType*> uniform_types(const ModelFiles& files, const Recipe& recipe,
                                                     const PlanOptions& options) {
  const std::vector<OpenTensor> open = open_tensors(files, recipe);
  std::map<std::string, const GgmlType*> choice;
  std::set<double> sizes;  // in bits
  for (const GgmlType* type : all_types()) sizes.insert(type->bits_per_weight());
  uint64_t bytes = 0;
  for (auto bits = sizes.rbegin(); bits != sizes.rend(); ++bits) {
    for (const OpenTensor& tensor : open) {
      const auto types = types_for_rows(tensor.shape[1]);
      if (types.empty()) {
        throw UsageError(tensor.layer + ": its rows of " + std::to_string(tensor.shape[1]) +
                         " are no multiple of 32, which GGUF's blocks hold. Leave it out: --tensor-type '" +
                         tensor.layer + "=none'");
      }
      const auto above =
          std::find_if(types.begin(), types.end(), [&](const auto* t) { return t->bits_per_weight() > *bits; });
      choice[tensor.layer] = above == types.begin() ? types.front() : *(above - 1);
    }
    bytes = make_plan(files, with_types(recipe, choice), options).sizes.weight_bytes;
    if (bytes <= recipe.size) return choice;
  }
  throw UsageError("size: " + format_bytes(recipe.size) + " cannot be met: with the smallest types the file has " +
                   std::to_string(bytes) + " bytes (" + format_bytes(bytes) + "). Use --size " +
                   std::to_string(bytes / 1'000'000 + 1) + "MB or more");
}

}  // namespace pare
