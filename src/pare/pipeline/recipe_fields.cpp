#include "pare/pipeline/recipe_fields.h"

#include <charconv>
#include <cmath>

#include "pare/base/error.h"
#include "pare/base/units.h"
#include "pare/pipeline/gguf_mix.h"
#include "pare/pipeline/methods.h"

namespace pare {

namespace {

constexpr int64_t kMostInputs = int64_t{1} << 24;

std::string text_of(double value) {
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr};
}
std::string text_of(bool value) {
  return value ? "true" : "false";
}
template <class Integer>
std::string text_of(Integer value) {
  return std::to_string(value);
}

template <class T>
bool whole(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

void read_bits(const RecipeReader& reader, const YamlNode& value, WishPatch& patch) {
  if (value.is_scalar() && (value.text == "ternary" || value.text == "none")) {
    patch.ternary = value.text == "ternary";
    patch.bits = *patch.ternary ? 2 : 0;
    return;
  }
  int64_t bits = 0;
  if (!value.is_scalar() || !whole(value.text, bits) || bits < 2 || bits > 8) {
    reader.expected(value, "bits", "2 to 8, ternary or none");
  }
  patch.bits = static_cast<int>(bits);
  patch.ternary = false;
}

void read_group(const RecipeReader& reader, const YamlNode& value, WishPatch& patch) {
  int64_t group = 0;
  if (value.is_scalar() && value.text == "auto") {
    patch.group = 0;
  } else if (value.is_scalar() && whole(value.text, group) && group != 0 && group >= -1 && group <= kMostInputs) {
    patch.group = group;
  } else {
    reader.expected(value, "group", "a number of inputs such as 64, -1 for the whole row, or auto");
  }
}

void read_sparsity(const RecipeReader& reader, const YamlNode& value, WishPatch& patch) {
  const std::string text = reader.word(value, "sparsity");
  try {
    patch.sparsity = text == "none" ? Pattern{.sparsity = 0} : Pattern::parse(text);
  } catch (const UsageError& error) {
    reader.fail(value, error.what());
  }
}

const std::vector<std::pair<std::string, Dtype>> kScaleTypes{
    {"f16", Dtype::f16}, {"bf16", Dtype::bf16}, {"f32", Dtype::f32}};

template <auto Member>
std::optional<std::string> write_member(const WishPatch& patch) {
  const auto& value = patch.*Member;
  return value ? std::optional(text_of(*value)) : std::nullopt;
}

}  // namespace

const std::vector<WishField>& wish_fields() {
  using R = const RecipeReader&;
  using V = const YamlNode&;
  using P = WishPatch&;
  using Text = std::optional<std::string>;
  static const std::vector<WishField> fields{
      {"method", [](R r, V v, P p) { p.method = r.one_of(v, "method", method_names()); },
       [](const WishPatch& p) -> Text { return p.method; }},
      {"bits", read_bits,
       [](const WishPatch& p) -> Text {
         if (!p.bits) return std::nullopt;
         return p.ternary.value_or(false) ? "ternary" : *p.bits == 0 ? "none" : std::to_string(*p.bits);
       }},
      {"type", [](R r, V v, P p) { p.type = r.one_of(v, "type", mix_names()); },
       [](const WishPatch& p) -> Text { return p.type; }},
      {"group", read_group,
       [](const WishPatch& p) -> Text {
         if (!p.group) return std::nullopt;
         return *p.group == 0 ? "auto" : std::to_string(*p.group);
       }},
      {"symmetric", [](R r, V v, P p) { p.symmetric = r.flag(v, "symmetric"); }, write_member<&WishPatch::symmetric>},
      {"scale_dtype",
       [](R r, V v, P p) {
         std::vector<std::string> names;
         for (const auto& [name, dtype] : kScaleTypes) names.push_back(name);
         const std::string chosen = r.one_of(v, "scale_dtype", names);
         for (const auto& [name, dtype] : kScaleTypes) {
           if (name == chosen) p.scale_dtype = dtype;
         }
       },
       [](const WishPatch& p) -> Text {
         for (const auto& [name, dtype] : kScaleTypes) {
           if (p.scale_dtype == dtype) return name;
         }
         return std::nullopt;
       }},
      {"search", [](R r, V v, P p) { p.search = r.flag(v, "search"); }, write_member<&WishPatch::search>},
      {"sparsity", read_sparsity,
       [](const WishPatch& p) -> Text {
         if (!p.sparsity) return std::nullopt;
         return !p.sparsity->structured() && p.sparsity->sparsity == 0 ? "none" : yaml_quoted(p.sparsity->text());
       }},
      {"damp", [](R r, V v, P p) { p.damp = r.number(v, "damp", 0, 1000); }, write_member<&WishPatch::damp>},
      {"act_order", [](R r, V v, P p) { p.act_order = r.flag(v, "act_order"); }, write_member<&WishPatch::act_order>},
      {"static_groups", [](R r, V v, P p) { p.static_groups = r.flag(v, "static_groups"); },
       write_member<&WishPatch::static_groups>},
      {"descent_sweeps",
       [](R r, V v, P p) { p.descent_sweeps = static_cast<int>(r.integer(v, "descent_sweeps", 0, 1000)); },
       write_member<&WishPatch::descent_sweeps>},
      {"refit_scales", [](R r, V v, P p) { p.refit_scales = r.flag(v, "refit_scales"); },
       write_member<&WishPatch::refit_scales>},
      {"shift", [](R r, V v, P p) { p.shift = r.number(v, "shift", 0, 1); }, write_member<&WishPatch::shift>},
      {"block", [](R r, V v, P p) { p.block = r.integer(v, "block", 1, kMostInputs); },
       write_member<&WishPatch::block>},
      {"refine", [](R r, V v, P p) { p.refine = static_cast<int>(r.integer(v, "refine", 0, 1000)); },
       write_member<&WishPatch::refine>},
  };
  return fields;
}

void RecipeReader::fail(const YamlNode& at, const std::string& what) const {
  throw UsageError(where_ + ": line " + std::to_string(at.line) + ": " + what);
}

void RecipeReader::expected(const YamlNode& at, const std::string& key, const std::string& what) const {
  fail(at, key + ": expected " + what + ", found " + at.describe());
}

void RecipeReader::unknown_key(const YamlNode& key, const std::vector<std::string>& known) const {
  std::string all;
  for (const std::string& name : known) all += (all.empty() ? "" : ", ") + name;
  const std::string near = nearest_word(key.text.substr(0, 64), known);
  fail(key, "unknown key " + key.describe() + (near.empty() ? ". Known: " + all : "; did you mean " + near + "?"));
}

std::string RecipeReader::word(const YamlNode& value, const std::string& key) const {
  if (!value.is_scalar() || value.text.empty()) expected(value, key, "a word");
  return value.text;
}

std::string RecipeReader::one_of(const YamlNode& value, const std::string& key,
                                 const std::vector<std::string>& known) const {
  const std::string text = value.is_scalar() ? value.text : "";
  std::string all;
  for (const std::string& name : known) {
    if (text == name) return name;
    all += (all.empty() ? "" : ", ") + name;
  }
  expected(value, key, "one of " + all);
}

bool RecipeReader::flag(const YamlNode& value, const std::string& key) const {
  for (const char* yes : {"true", "True", "yes", "on"}) {
    if (value.is_scalar() && value.text == yes) return true;
  }
  for (const char* no : {"false", "False", "no", "off"}) {
    if (value.is_scalar() && value.text == no) return false;
  }
  expected(value, key, "true or false");
}

int64_t RecipeReader::integer(const YamlNode& value, const std::string& key, int64_t least, int64_t most) const {
  int64_t number = 0;
  if (!value.is_scalar() || !whole(value.text, number) || number < least || number > most) {
    expected(value, key, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return number;
}

double RecipeReader::number(const YamlNode& value, const std::string& key, double least, double most) const {
  double number = 0;
  if (!value.is_scalar() || !whole(value.text, number) || !(number >= least && number <= most)) {
    expected(value, key, "a number from " + text_of(least) + " to " + text_of(most));
  }
  return number;
}

std::vector<std::string> RecipeReader::words(const YamlNode& value, const std::string& key) const {
  if (value.is_scalar()) return {word(value, key)};
  if (!value.is_sequence()) expected(value, key, "a list of words");
  std::vector<std::string> result;
  for (const YamlNode& item : value.items) result.push_back(word(item, key));
  return result;
}

const YamlNode& RecipeReader::map(const YamlNode& value, const std::string& key) const {
  if (!value.is_map()) expected(value, key, "a map (key: value)");
  return value;
}

}  // namespace pare
