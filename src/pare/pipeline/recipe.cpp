#include "pare/pipeline/recipe.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "pare/base/error.h"
#include "pare/pipeline/gguf_mix.h"
#include "pare/pipeline/name_match.h"

namespace pare {

namespace {

template <class T>
void take(const std::optional<T>& from, T& to) {
  if (from) to = *from;
}

void apply(const WishPatch& patch, bool is_override, LayerWish& wish, bool& method_said) {
  if (patch.method) {
    wish.method = *patch.method;
    method_said = true;
  }
  if (patch.bits) {
    wish.bits = *patch.bits;
    wish.ternary = patch.ternary.value_or(false) && *patch.bits == 2;
    wish.type.clear();
  }
  if (patch.type) {
    wish.type = *patch.type;
    wish.exact_type = is_override && !is_mix(wish.type);
    wish.bits = 0;
  }
  if (patch.sparsity) {
    const bool nothing = !patch.sparsity->structured() && patch.sparsity->sparsity == 0;
    wish.sparsity = nothing ? std::nullopt : patch.sparsity;
  }
  take(patch.group, wish.group);
  take(patch.symmetric, wish.symmetric);
  take(patch.scale_dtype, wish.scale_dtype);
  if (patch.search) wish.search = patch.search;
  take(patch.damp, wish.damp);
  take(patch.act_order, wish.act_order);
  take(patch.static_groups, wish.static_groups);
  take(patch.descent_sweeps, wish.descent_sweeps);
  take(patch.refit_scales, wish.refit_scales);
  take(patch.shift, wish.shift);
  take(patch.block, wish.block);
  take(patch.refine, wish.refine);
}

}  // namespace

Recipe Recipe::from_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  constexpr size_t kMostBytes = (1 << 20) + 1;  // one more than a recipe may have
  text.resize(kMostBytes);
  if (!file || (file.read(text.data(), kMostBytes), file.bad())) {
    throw UsageError("recipe: cannot read " + path.string() + ". Is the path right, and a file?");
  }
  text.resize(static_cast<size_t>(file.gcount()));
  return from_yaml(text, path.string());
}

LayerWish Recipe::wish_for(const std::string& layer) const {
  LayerWish resolved;
  bool method_said = false;
  apply(wish, false, resolved, method_said);
  for (const LayerOverride& one : layers) {
    if (NameMatch(one.match).matches(layer)) apply(one.patch, true, resolved, method_said);
  }
  const bool rounds = resolved.bits > 0 || !resolved.type.empty() || size > 0;
  if (!method_said) resolved.method = resolved.sparsity ? "sparsegpt" : rounds ? "gptq" : "none";
  if (resolved.method == "none") {
    resolved.bits = 0;
    resolved.ternary = false;
    resolved.type.clear();
    resolved.sparsity.reset();
  }
  return resolved;
}

std::vector<std::string> Recipe::unmatched(const std::vector<std::string>& names) const {
  std::vector<std::string> result;
  for (const LayerOverride& one : layers) {
    const NameMatch match(one.match);
    const bool found = std::any_of(names.begin(), names.end(), [&](const std::string& n) { return match.matches(n); });
    if (!found && !one.optional) result.push_back(one.match);
  }
  return result;
}

}  // namespace pare
