// Recipes as YAML: reading and writing.
#include <charconv>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/units.h"
#include "pare/pipeline/exporter.h"
#include "pare/pipeline/name_match.h"
#include "pare/pipeline/recipe.h"
#include "pare/pipeline/recipe_fields.h"

namespace pare {

namespace {

std::vector<std::string> with_wish_fields(std::vector<std::string> names) {
  for (const WishField& field : wish_fields()) names.emplace_back(field.name);
  return names;
}

bool read_wish_field(const RecipeReader& reader, const YamlNode& key, const YamlNode& value, WishPatch& patch) {
  for (const WishField& field : wish_fields()) {
    if (key.text != field.name) continue;
    field.read(reader, value, patch);
    return true;
  }
  return false;
}

uint64_t read_seed(const RecipeReader& reader, const YamlNode& value) {
  uint64_t seed = 0;
  const std::string& text = value.text;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (!value.is_scalar() || error != std::errc() || end != text.data() + text.size()) {
    reader.expected(value, "seed", "a whole number from 0 to 2^64 - 1");
  }
  return seed;
}

void read_calibration(const RecipeReader& reader, const YamlNode& node, const YamlNode& root, Recipe& recipe) {
  reader.map(node, "calibration");
  for (size_t i = 0; i < node.keys.size(); ++i) {
    const std::string& key = node.keys[i].text;
    const YamlNode& value = node.items[i];
    if (key == "files") {
      for (const std::string& file : reader.words(value, key)) recipe.calibration.files.emplace_back(file);
    } else if (key == "samples") {
      recipe.calibration.samples = reader.integer(value, key, 1, CalibrationWish::kMostSamples);
    } else if (key == "length") {
      recipe.calibration.length = reader.integer(value, key, CalibrationWish::kShortest, CalibrationWish::kLongest);
    } else if (key == "seed") {
      if (root.find("seed") != nullptr) reader.fail(node.keys[i], "seed is given at the top level too; keep one");
      recipe.seed = read_seed(reader, value);
    } else {
      reader.unknown_key(node.keys[i], {"files", "samples", "length", "seed"});
    }
  }
}

LayerOverride read_override(const RecipeReader& reader, const YamlNode& node) {
  reader.map(node, "layers");
  LayerOverride result;
  for (size_t i = 0; i < node.keys.size(); ++i) {
    const std::string& key = node.keys[i].text;
    const YamlNode& value = node.items[i];
    if (key == "match") {
      result.match = reader.word(value, key);
      try {
        NameMatch check(result.match);
      } catch (const UsageError& error) {
        reader.fail(value, error.what());
      }
    } else if (key == "optional") {
      result.optional = reader.flag(value, key);
    } else if (!read_wish_field(reader, node.keys[i], value, result.patch)) {
      reader.unknown_key(node.keys[i], with_wish_fields({"match", "optional"}));
    }
  }
  if (result.match.empty()) reader.fail(node, "layers: each entry needs match: a layer's name, a glob or re:REGEX");
  return result;
}

void write_wish(const WishPatch& patch, const std::string& indent, std::string& text) {
  for (const WishField& field : wish_fields()) {
    if (const auto value = field.write(patch)) text += indent + field.name + ": " + *value + "\n";
  }
}

nlohmann::json scalar_json(const std::string& text) {
  if (text == "true" || text == "false") return text == "true";
  const char* end = text.data() + text.size();
  uint64_t whole = 0;
  if (const auto [at, error] = std::from_chars(text.data(), end, whole); error == std::errc() && at == end)
    return whole;
  double number = 0;
  if (const auto [at, error] = std::from_chars(text.data(), end, number); error == std::errc() && at == end) {
    return number;
  }
  return text;
}

nlohmann::json tree_json(const YamlNode& node) {
  if (node.is_scalar()) return scalar_json(node.text);
  nlohmann::json result = node.is_map() ? nlohmann::json::object() : nlohmann::json::array();
  for (size_t i = 0; i < node.items.size(); ++i) {
    if (node.is_map()) {
      result[node.keys[i].text] = tree_json(node.items[i]);
    } else {
      result.push_back(tree_json(node.items[i]));
    }
  }
  return result;
}

}  // namespace

nlohmann::json Recipe::to_json() const {
  return tree_json(parse_yaml(to_yaml(), "recipe"));
}

Recipe Recipe::from_yaml(std::string_view text, const std::string& where) {
  const RecipeReader reader(where);
  const YamlNode root = parse_yaml(text, where);
  Recipe recipe;
  if (root.kind == YamlNode::Kind::null) return recipe;
  if (!root.is_map()) reader.fail(root, "expected a map (key: value), found " + root.describe());
  if (is_llm_compressor(root)) return from_llm_compressor(reader, root);
  if (is_gptqmodel(root)) return from_gptqmodel(reader, root);
  for (size_t i = 0; i < root.keys.size(); ++i) {
    const YamlNode& key = root.keys[i];
    const YamlNode& value = root.items[i];
    if (key.text == "format") {
      recipe.format = reader.one_of(value, key.text, output_formats());
    } else if (key.text == "size") {
      recipe.size = parse_bytes(reader.word(value, key.text), "size");
    } else if (key.text == "split") {
      recipe.split = parse_bytes(reader.word(value, key.text), "split");
    } else if (key.text == "imatrix") {
      recipe.imatrix = reader.word(value, key.text);
    } else if (key.text == "true_sequential") {
      recipe.true_sequential = reader.flag(value, key.text);
    } else if (key.text == "guided") {
      recipe.guided = reader.flag(value, key.text);
    } else if (key.text == "seed") {
      recipe.seed = read_seed(reader, value);
    } else if (key.text == "calibration") {
      read_calibration(reader, value, root, recipe);
    } else if (key.text == "layers") {
      if (!value.is_sequence()) reader.expected(value, key.text, "a list of entries, each with match");
      for (const YamlNode& entry : value.items) recipe.layers.push_back(read_override(reader, entry));
    } else if (!read_wish_field(reader, key, value, recipe.wish)) {
      reader.unknown_key(key, with_wish_fields({"size", "split", "format", "imatrix", "calibration", "true_sequential",
                                                "guided", "seed", "layers"}));
    }
  }
  return recipe;
}

std::string Recipe::to_yaml() const {
  std::string text;
  write_wish(wish, "", text);
  if (size > 0) text += "size: " + std::to_string(size) + "\n";
  if (split > 0) text += "split: " + std::to_string(split) + "\n";
  if (format) text += "format: " + *format + "\n";
  if (!imatrix.empty()) text += "imatrix: " + yaml_quoted(imatrix.string()) + "\n";
  text += std::string("true_sequential: ") + (true_sequential ? "true" : "false") + "\n";
  if (guided) text += std::string("guided: ") + (*guided ? "true" : "false") + "\n";
  text += "seed: " + std::to_string(seed) + "\n";
  text += "calibration:\n";
  if (!calibration.files.empty()) {
    text += "  files:\n";
    for (const auto& file : calibration.files) text += "    - " + yaml_quoted(file.string()) + "\n";
  }
  text += "  samples: " + std::to_string(calibration.samples) + "\n";
  text += "  length: " + std::to_string(calibration.length) + "\n";
  if (!layers.empty()) text += "layers:\n";
  for (const LayerOverride& one : layers) {
    text += "  - match: " + yaml_quoted(one.match) + "\n";
    if (one.optional) text += "    optional: true\n";
    write_wish(one.patch, "    ", text);
  }
  return text;
}

}  // namespace pare
