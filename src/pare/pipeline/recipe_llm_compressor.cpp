// The common subset of llm-compressor's recipes:
//
//   STAGE:                                       any name that ends in _stage
//     MODIFIERS:                                 any name that ends in _modifiers; or modifiers at the top level
//       GPTQModifier | QuantizationModifier:     gptq | rtn
//         targets, ignore, scheme: W4A16 W4A16_ASYM W8A16, or config_groups: {...: {targets, weights: {...}}},
//         dampening_frac, block_size, actorder
//       SparseGPTModifier | WandaPruningModifier: sparsegpt | wanda
//         sparsity, mask_structure, targets, ignore, dampening_frac, block_size
//
// SparseGPT and a quantizer in one recipe become one: sparsegpt rounding as it goes. What would change the result and
// has no equal here is refused by name.
#include <algorithm>
#include <cmath>

#include "pare/base/error.h"
#include "pare/pipeline/name_match.h"
#include "pare/pipeline/recipe_fields.h"

namespace pare {

namespace {

bool ends_with_any(const std::string& text, std::initializer_list<const char*> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](const char* ending) { return text.ends_with(ending); });
}

bool is_nothing(const YamlNode& value) {
  return value.kind == YamlNode::Kind::null || (value.is_sequence() && value.items.empty()) ||
         (value.is_map() && value.keys.empty());
}

// Every linear of the model: theirs for "all".
bool means_all(const std::string& target) {
  return target == "Linear" || target == "__ALL_PRUNABLE__" || target == "re:model.layers.\\d*$" ||
         target == "re:model\\.layers\\.\\d+$";
}

// What Pare leaves alone by itself, so that ignoring it needs no line.
bool never_touched(const std::string& name) {
  return name == "lm_head" || name == "re:.*lm_head" || name == "re:.*lm_head.*";
}

struct Modifier {
  std::string method;
  std::vector<std::string> targets{"Linear"};
  std::vector<std::string> ignore;
  WishPatch wish;
};

class Translator {
 public:
  explicit Translator(const RecipeReader& reader) : reader_(reader) {}

  void stage(const YamlNode& root) {
    for (size_t i = 0; i < root.keys.size(); ++i) {
      const YamlNode& key = root.keys[i];
      const YamlNode& value = root.items[i];
      if (key.text.ends_with("Modifier")) {
        modifier(key, value);
      } else if (key.text.ends_with("_modifiers") && value.is_sequence()) {
        for (const YamlNode& item : value.items) stage(reader_.map(item, key.text));
      } else if (ends_with_any(key.text, {"_stage", "_modifiers"})) {
        stage(reader_.map(value, key.text));
      } else if (key.text != "run_type" && key.text != "metadata" && key.text != "version") {
        reader_.fail(key, key.describe() + " in a recipe of llm-compressor is not something Pare can follow");
      }
    }
  }

  Recipe finish(const YamlNode& root) {
    if (modifiers_.empty()) reader_.fail(root, "a recipe of llm-compressor without a modifier: there is nothing to do");
    Recipe recipe;
    std::vector<std::string> ignored;
    for (const Modifier& m : modifiers_) {
      for (const std::string& target : m.targets) {
        if (means_all(target)) {
          merge(m, root, recipe.wish);
        } else {
          LayerOverride one{.match = target, .patch = {}, .optional = true};
          merge(m, root, one.patch);
          recipe.layers.push_back(std::move(one));
        }
      }
      ignored.insert(ignored.end(), m.ignore.begin(), m.ignore.end());
    }
    for (const std::string& name : ignored) {
      const bool known = std::any_of(recipe.layers.begin(), recipe.layers.end(), [&](const LayerOverride& one) {
        return one.match == name && one.patch.method == "none";
      });
      if (known || never_touched(name)) continue;
      LayerOverride one{.match = name, .patch = {}, .optional = true};
      one.patch.method = "none";
      recipe.layers.push_back(std::move(one));
    }
    return recipe;
  }

 private:
  void modifier(const YamlNode& key, const YamlNode& value) {
    Modifier m;
    if (key.text == "GPTQModifier") {
      m.method = "gptq";
    } else if (key.text == "QuantizationModifier") {
      m.method = "rtn";
    } else if (key.text == "SparseGPTModifier") {
      m.method = "sparsegpt";
    } else if (key.text == "WandaPruningModifier") {
      m.method = "wanda";
    } else {
      reader_.fail(key, key.describe() +
                            " of llm-compressor has no equal here. Known: GPTQModifier, QuantizationModifier, "
                            "SparseGPTModifier, WandaPruningModifier");
    }
    reader_.map(value, key.text);
    for (size_t i = 0; i < value.keys.size(); ++i) field(key.text, value.keys[i], value.items[i], m);
    const bool prunes = m.method == "sparsegpt" || m.method == "wanda";
    if (prunes && !m.wish.sparsity) reader_.fail(key, key.text + ": needs sparsity");
    if (!prunes && !m.wish.bits) reader_.fail(key, key.text + ": needs scheme or config_groups");
    if (prunes && structure_ != nullptr) apply_structure(key, m);
    structure_ = nullptr;
    modifiers_.push_back(std::move(m));
  }

  void field(const std::string& modifier, const YamlNode& key, const YamlNode& value, Modifier& m) {
    const std::string& name = key.text;
    if (name == "targets") {
      m.targets = names(value, name);
    } else if (name == "ignore") {
      if (!is_nothing(value)) m.ignore = names(value, name);
    } else if (name == "scheme") {
      scheme(value, m);
    } else if (name == "config_groups") {
      config_groups(value, m);
    } else if (name == "sparsity") {
      const double share = reader_.number(value, name, 0, 1);
      if (!(share < 1)) reader_.expected(value, name, "less than 1");
      m.wish.sparsity = Pattern{.sparsity = share};
    } else if (name == "mask_structure") {
      structure_ = &value;
    } else if (name == "dampening_frac") {
      m.wish.damp = reader_.number(value, name, 0, 1000);
    } else if (name == "block_size") {
      m.wish.block = reader_.integer(value, name, 1, 1 << 24);
    } else if (name == "actorder") {
      actorder(value, m);
    } else if (name == "sequential_update") {
      if (!reader_.flag(value, name)) refuse(modifier, key, "Pare always goes on with the compressed layers before");
    } else if (name == "preserve_sparsity_mask") {
      if (reader_.flag(value, name)) refuse(modifier, key, "");
    } else if (name != "offload_hessians" && name != "start" && name != "end" && name != "bypass_divisibility_checks") {
      if (!is_nothing(value)) refuse(modifier, key, "");
    }
  }

  [[noreturn]] void refuse(const std::string& modifier, const YamlNode& key, const std::string& why) const {
    reader_.fail(key, modifier + ": " + key.describe() + " has no equal here" + (why.empty() ? "" : ": " + why));
  }

  std::vector<std::string> names(const YamlNode& value, const std::string& key) const {
    std::vector<std::string> result = reader_.words(value, key);
    for (const std::string& name : result) {
      try {
        NameMatch check(name);
      } catch (const UsageError& error) {
        reader_.fail(value, error.what());
      }
    }
    return result;
  }

  void scheme(const YamlNode& value, Modifier& m) const {
    const std::string name = reader_.one_of(value, "scheme", {"W4A16", "W4A16_ASYM", "W8A16"});
    m.wish.bits = name == "W8A16" ? 8 : 4;
    m.wish.ternary = false;
    m.wish.group = name == "W8A16" ? -1 : 128;
    m.wish.symmetric = name != "W4A16_ASYM";
  }

  void config_groups(const YamlNode& value, Modifier& m) const {
    reader_.map(value, "config_groups");
    if (value.items.size() != 1) {
      reader_.fail(value,
                   "config_groups: " + std::to_string(value.items.size()) +
                       " groups; Pare follows recipes with one. Write the others as layers: of a recipe of ours");
    }
    const YamlNode& group = reader_.map(value.items[0], value.keys[0].text);
    for (size_t i = 0; i < group.keys.size(); ++i) {
      const YamlNode& key = group.keys[i];
      if (key.text == "targets") {
        m.targets = names(group.items[i], key.text);
      } else if (key.text == "weights") {
        weights(reader_.map(group.items[i], key.text), m);
      } else if (!is_nothing(group.items[i])) {
        refuse("config_groups", key, "Pare rounds weights, not activations");
      }
    }
  }

  void weights(const YamlNode& node, Modifier& m) const {
    std::string strategy = "group";
    int64_t group_size = 128;
    m.wish.symmetric = true;
    for (size_t i = 0; i < node.keys.size(); ++i) {
      const YamlNode& key = node.keys[i];
      const YamlNode& value = node.items[i];
      if (is_nothing(value)) continue;
      if (key.text == "num_bits") {
        m.wish.bits = static_cast<int>(reader_.integer(value, key.text, 2, 8));
        m.wish.ternary = false;
      } else if (key.text == "symmetric") {
        m.wish.symmetric = reader_.flag(value, key.text);
      } else if (key.text == "strategy") {
        strategy = reader_.one_of(value, key.text, {"group", "channel"});
      } else if (key.text == "group_size") {
        group_size = reader_.integer(value, key.text, -1, 1 << 24);
        if (group_size == 0) reader_.expected(value, key.text, "a number of inputs, or -1");
      } else if (key.text == "type") {
        reader_.one_of(value, key.text, {"int"});
      } else if (key.text == "dynamic") {
        if (reader_.flag(value, key.text)) refuse("weights", key, "weights are rounded once");
      } else if (key.text == "actorder") {
        actorder(value, m);
      } else if (key.text == "observer") {
        m.wish.search =
            reader_.one_of(value, key.text, {"minmax", "memoryless_minmax", "mse", "memoryless_mse"}).ends_with("mse");
      } else {
        refuse("weights", key, "");
      }
    }
    m.wish.group = strategy == "channel" ? -1 : group_size;
  }

  void actorder(const YamlNode& value, Modifier& m) const {
    if (is_nothing(value)) return;
    const std::string order =
        reader_.one_of(value, "actorder", {"static", "weight", "group", "dynamic", "false", "none"});
    if (order == "group" || order == "dynamic") {
      reader_.fail(value, "actorder: " + order +
                              " scatters each group over the row, which slows every runtime; use actorder: static, "
                              "which is as good");
    }
    m.wish.act_order = order == "static" || order == "weight";
  }

  // Theirs says how many of m go, ours how many stay.
  void apply_structure(const YamlNode& key, Modifier& m) const {
    const std::string text = reader_.word(*structure_, "mask_structure");
    if (text == "0:0") return;
    Pattern removed;
    try {
      removed = Pattern::parse(text);
    } catch (const UsageError& error) {
      reader_.fail(*structure_, error.what());
    }
    if (!removed.structured() || removed.n == removed.m) reader_.expected(*structure_, "mask_structure", "n:m");
    const double share = static_cast<double>(removed.n) / removed.m;
    if (std::abs(share - m.wish.sparsity->sparsity) > 1e-9) {
      reader_.fail(*structure_, key.text + ": mask_structure " + text + " removes " + std::to_string(share) +
                                    ", sparsity says otherwise");
    }
    m.wish.sparsity = Pattern::parse(std::to_string(removed.m - removed.n) + ":" + std::to_string(removed.m));
  }

  // Adds what this modifier wants to what an earlier one wanted of the same layers.
  void merge(const Modifier& m, const YamlNode& root, WishPatch& into) const {
    const bool prunes = m.wish.sparsity.has_value();
    if (!into.method) {
      const std::string method = m.method;
      into = m.wish;
      into.method = method;
      return;
    }
    const bool joint = (*into.method == "sparsegpt" && !into.bits && !prunes) ||
                       (m.method == "sparsegpt" && !into.sparsity && into.bits);
    if (!joint) {
      reader_.fail(root, *into.method + " and " + m.method +
                             " on the same layers: Pare does both at once only with sparsegpt and one quantizer");
    }
    WishPatch both = prunes ? m.wish : into;  // damping and block of the pruning
    const WishPatch& rounding = prunes ? into : m.wish;
    both.method = "sparsegpt";
    both.bits = rounding.bits;
    both.ternary = false;
    both.group = rounding.group;
    both.symmetric = rounding.symmetric;
    both.search = rounding.search;
    both.act_order = rounding.act_order;
    into = both;
  }

  const RecipeReader& reader_;
  std::vector<Modifier> modifiers_;
  const YamlNode* structure_ = nullptr;  // mask_structure of the modifier being read
};

}  // namespace

bool is_llm_compressor(const YamlNode& root) {
  return std::any_of(root.keys.begin(), root.keys.end(), [](const YamlNode& key) {
    return ends_with_any(key.text, {"_stage", "_modifiers", "Modifier"});
  });
}

Recipe from_llm_compressor(const RecipeReader& reader, const YamlNode& root) {
  Translator translator(reader);
  translator.stage(root);
  return translator.finish(root);
}

}  // namespace pare
