// The keys of a recipe: one table that reads, writes and lists them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pare/pipeline/recipe.h"
#include "pare/pipeline/yaml_tree.h"

namespace pare {

// Where in the recipe we are, for messages; and what may stand there.
class RecipeReader {
 public:
  explicit RecipeReader(std::string where) : where_(std::move(where)) {}

  [[noreturn]] void fail(const YamlNode& at, const std::string& what) const;
  // "bits: expected 2 to 8 or ternary, found "four""
  [[noreturn]] void expected(const YamlNode& at, const std::string& key, const std::string& what) const;
  [[noreturn]] void unknown_key(const YamlNode& key, const std::vector<std::string>& known) const;

  std::string word(const YamlNode& value, const std::string& key) const;
  std::string one_of(const YamlNode& value, const std::string& key, const std::vector<std::string>& known) const;
  bool flag(const YamlNode& value, const std::string& key) const;
  int64_t integer(const YamlNode& value, const std::string& key, int64_t least, int64_t most) const;
  double number(const YamlNode& value, const std::string& key, double least, double most) const;
  std::vector<std::string> words(const YamlNode& value, const std::string& key) const;  // a list, or one word
  const YamlNode& map(const YamlNode& value, const std::string& key) const;

 private:
  std::string where_;
};

struct WishField {
  const char* name;
  void (*read)(const RecipeReader&, const YamlNode&, WishPatch&);
  std::optional<std::string> (*write)(const WishPatch&);  // as YAML; nothing when it is not set
};
const std::vector<WishField>& wish_fields();

// Stages and modifiers of llm-compressor instead of our keys?
bool is_llm_compressor(const YamlNode& root);
Recipe from_llm_compressor(const RecipeReader& reader, const YamlNode& root);
// GPTQModel's quantize_config.json?
bool is_gptqmodel(const YamlNode& root);
Recipe from_gptqmodel(const RecipeReader& reader, const YamlNode& root);

}  // namespace pare
