// GPTQModel's and AutoGPTQ's quantize_config.json as a recipe (JSON is YAML, too):
//
//   {"bits": 4, "group_size": 128, "desc_act": false, "sym": true, "damp_percent": 0.01, "lm_head": false,
//    "dynamic": {"+:.*\\.down_proj": {"bits": 8, "group_size": 64}, "-:.*\\.0\\..*": {}}}
//
// desc_act with scales in fixed places (static_groups) is our act_order; GPTQ is in v2 when asymmetric, as Pare writes
// it. What would change the result and has no equal here is refused by name.
#include <algorithm>

#include "pare/base/error.h"
#include "pare/pipeline/name_match.h"
#include "pare/pipeline/recipe_fields.h"

namespace pare {
namespace {

constexpr const char* kMarks[] = {"desc_act", "damp_percent", "w_bit", "q_group_size"};

bool says_nothing(const YamlNode& value) {
  return value.kind == YamlNode::Kind::null || (value.is_map() && value.keys.empty());
}

class GptqModelReader {
 public:
  explicit GptqModelReader(const RecipeReader& reader) : reader_(reader) {}

  Recipe read(const YamlNode& root) {
    recipe_.wish.method = "gptq";
    recipe_.format = "gptq";
    for (size_t i = 0; i < root.keys.size(); ++i) {
      const YamlNode& key = root.keys[i];
      const YamlNode& value = root.items[i];
      if (key.text == "dynamic") {
        if (!says_nothing(value)) dynamic(reader_.map(value, key.text));
      } else if (key.text == "quant_method") {
        reader_.one_of(value, key.text, {"gptq"});
      } else if (key.text == "checkpoint_format" || key.text == "format") {
        reader_.one_of(value, key.text, {"gptq", "gptq_v2"});  // written as v2 when asymmetric
      } else if (key.text == "lm_head") {
        if (reader_.flag(value, key.text)) refuse(key, "Pare leaves the head as it is in this format");
      } else if (key.text == "true_sequential") {
        recipe_.true_sequential = reader_.flag(value, key.text);
      } else if (key.text == "pack_dtype") {
        reader_.one_of(value, key.text, {"int32"});
      } else if (!field(key, value, recipe_.wish) && !is_silent(key.text) && !says_nothing(value)) {
        refuse(key, "");
      }
    }
    if (!recipe_.wish.bits) reader_.fail(root, "a quantize_config of GPTQModel without bits: there is nothing to do");
    return std::move(recipe_);
  }

 private:
  // What neither changes our result nor asks for anything.
  static bool is_silent(const std::string& key) {
    static const char* const silent[] = {
        "meta",          "model_name_or_path", "model_file_base_name",      "is_marlin_format",
        "version",       "zero_point",         "damp_auto_increment",       "offload_to_disk",
        "static_groups", "pack_impl",          "auto_forward_data_parallel"};
    return std::any_of(std::begin(silent), std::end(silent), [&](const char* name) { return key == name; });
  }

  bool field(const YamlNode& key, const YamlNode& value, WishPatch& wish) const {
    const std::string& name = key.text;
    if (name == "bits" || name == "w_bit") {
      wish.bits = static_cast<int>(reader_.integer(value, name, 2, 8));
      wish.ternary = false;
    } else if (name == "group_size" || name == "q_group_size") {
      wish.group = reader_.integer(value, name, -1, 1 << 24);
      if (*wish.group == 0) reader_.expected(value, name, "a number of inputs, or -1");
    } else if (name == "sym") {
      wish.symmetric = reader_.flag(value, name);
    } else if (name == "desc_act") {
      wish.act_order = reader_.flag(value, name);
    } else if (name == "damp_percent") {
      wish.damp = reader_.number(value, name, 0, 1000);
    } else if (name == "mse") {
      wish.search = reader_.number(value, name, 0, 1e9) > 0;
    } else {
      return false;
    }
    return true;
  }

  // "+:REGEX" or "REGEX": other fields for these layers; "-:REGEX": left as they are. Theirs is the first that matches,
  // ours the last, so they come in reverse.
  void dynamic(const YamlNode& rules) {
    for (size_t i = rules.keys.size(); i-- > 0;) {
      std::string expression = rules.keys[i].text;
      const bool leaves = expression.starts_with("-:");
      if (leaves || expression.starts_with("+:")) expression.erase(0, 2);
      LayerOverride one{.match = "re:" + expression, .patch = {}, .optional = true};
      try {
        NameMatch check(one.match);
      } catch (const UsageError& error) {
        reader_.fail(rules.keys[i], error.what());
      }
      if (leaves) {
        one.patch.method = "none";
      } else {
        one.patch.method = "gptq";  // a rule of theirs hides those after it, whatever they say
        const YamlNode& fields = reader_.map(rules.items[i], "dynamic");
        for (size_t k = 0; k < fields.keys.size(); ++k) {
          if (!field(fields.keys[k], fields.items[k], one.patch)) refuse(fields.keys[k], "");
        }
      }
      recipe_.layers.push_back(std::move(one));
    }
  }

  [[noreturn]] void refuse(const YamlNode& key, const std::string& why) const {
    reader_.fail(key, key.describe() + " of GPTQModel has no equal here" + (why.empty() ? "" : ": " + why));
  }

  const RecipeReader& reader_;
  Recipe recipe_;
};

}  // namespace

bool is_gptqmodel(const YamlNode& root) {
  return std::any_of(root.keys.begin(), root.keys.end(), [](const YamlNode& key) {
    return std::any_of(std::begin(kMarks), std::end(kMarks), [&](const char* mark) { return key.text == mark; });
  });
}

Recipe from_gptqmodel(const RecipeReader& reader, const YamlNode& root) {
  return GptqModelReader(reader).read(root);
}

}  // namespace pare
