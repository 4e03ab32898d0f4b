#include "pare/runtime/json_schema_place.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "pare/base/error.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostOneOf = 200;  // they are compared two by two

const std::map<std::string, SchemaTypes, std::less<>> kTypeNames = {
    {"null", kNull},       {"boolean", kBoolean}, {"string", kString},
    {"integer", kInteger}, {"array", kArray},     {"number", kInteger | kFraction},
    {"object", kObject}};

// What restricts values of one type only
const std::map<std::string, SchemaTypes, std::less<>> kTyped = {{"properties", kObject},
                                                                {"required", kObject},
                                                                {"additionalProperties", kObject},
                                                                {"items", kArray},
                                                                {"prefixItems", kArray},
                                                                {"minItems", kArray},
                                                                {"maxItems", kArray},
                                                                {"minLength", kString},
                                                                {"maxLength", kString},
                                                                {"minimum", kInteger | kFraction},
                                                                {"maximum", kInteger | kFraction},
                                                                {"exclusiveMinimum", kInteger | kFraction},
                                                                {"exclusiveMaximum", kInteger | kFraction}};

const std::set<std::string, std::less<>> kAnnotations = {
    "title",           "description",      "default",       "examples",      "example", "deprecated",
    "readOnly",        "writeOnly",        "$schema",       "$comment",      "$anchor", "format",
    "contentEncoding", "contentMediaType", "contentSchema", "discriminator", "$defs",   "definitions"};

const std::set<std::string, std::less<>> kWhole = {"$ref", "anyOf", "oneOf", "allOf"};  // stand for all of a schema

SchemaTypes type_of(const Json& value) {
  if (value.is_null()) return kNull;
  if (value.is_boolean()) return kBoolean;
  if (value.is_string()) return kString;
  if (value.is_array()) return kArray;
  if (value.is_object()) return kObject;
  if (value.is_number_integer()) return kInteger;
  const double number = value.get<double>();
  return number == static_cast<double>(static_cast<int64_t>(std::clamp(number, -1e18, 1e18))) ? kInteger : kFraction;
}

// RFC 6901 in a URI: %XX is a byte.
std::string percent_decoded(std::string_view text, const std::string& where) {
  std::string result;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    const auto digit = [&](size_t at) {
      const size_t value =
          at < text.size() ? std::string_view("0123456789abcdef")
                                 .find(static_cast<char>(text[at] >= 'A' && text[at] <= 'F' ? text[at] + 32 : text[at]))
                           : std::string_view::npos;
      if (value == std::string_view::npos) throw InputError(where + ": % without two hexadecimal digits behind it");
      return value;
    };
    result += static_cast<char>(static_cast<unsigned char>(digit(i + 1) * 16 + digit(i + 2)));
    i += 2;
  }
  return result;
}

}  // namespace

const Json* SchemaPlace::find(const std::string& key) const {
  const auto found = json->find(key);
  return found == json->end() ? nullptr : &*found;
}

SchemaPlace SchemaPlace::child(const std::string& key, const Json& value) const {
  std::string escaped;
  for (char c : key) escaped += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return {&value, text + "/" + escaped};
}

SchemaPlace SchemaPlace::at(const std::string& key) const {
  const Json* value = find(key);
  PARE_ASSERT(value);
  return child(key, *value);
}

const SchemaDocument& SchemaDocument::check_keywords(const SchemaPlace& place) const {
  if (!place.json->is_object()) throw InputError(place.text + ": expected a schema: an object, true or false");
  std::vector<std::string> restricting;
  bool constant = false;
  for (const auto& item : place.json->items()) {
    const std::string& key = item.key();
    if (kAnnotations.contains(key) || key.starts_with("x-") || (key == "$id" && place.json == &root_)) continue;
    if (key == "uniqueItems" && item.value() == Json(false)) continue;
    const bool known = key == "type" || key == "enum" || key == "const" || kTyped.contains(key) || kWhole.contains(key);
    if (!known) {
      const std::string hint = key == "pattern" ? ". Use enum, or check the text afterwards" : "";
      throw UnsupportedError(place.at(key).text + ": this keyword is not supported" + hint);
    }
    constant |= key == "enum" || key == "const";
    restricting.push_back(key);
  }
  for (const std::string& key : restricting) {
    const bool alone = kWhole.contains(key);
    if (alone && restricting.size() > 1) {
      const std::string& other = restricting[0] == key ? restricting[1] : restricting[0];
      throw UnsupportedError(place.at(key).text + ": beside \"" + other + "\" is not supported. Put that into " +
                             (key == "$ref" ? "what it refers to" : "each alternative"));
    }
    if (constant && kTyped.contains(key)) {
      throw UnsupportedError(place.at(key).text +
                             ": beside enum or const is not supported. Leave out the values that "
                             "it excludes");
    }
  }
  return *this;
}

std::optional<SchemaPlace> SchemaDocument::reference(const SchemaPlace& place) const {
  const Json* ref = place.find("$ref");
  if (!ref) return std::nullopt;
  const std::string where = place.at("$ref").text;
  if (!ref->is_string()) throw InputError(where + ": expected a text");
  const std::string target = ref->get<std::string>();
  if (target.empty() || target[0] != '#' || (target.size() > 1 && target[1] != '/')) {
    throw UnsupportedError(where + ": \"" + target + "\" is not a place in this schema. Only #/... is followed");
  }
  const std::string pointer = percent_decoded(std::string_view(target).substr(1), where);
  try {
    const auto parsed = Json::json_pointer(pointer);
    if (root_.contains(parsed)) return SchemaPlace{&root_.at(parsed), "json_schema: #" + pointer};
  } catch (const Json::exception&) {
  }
  throw InputError(where + ": the schema has no place \"" + target + "\"");
}

std::optional<std::vector<std::string>> SchemaDocument::constants(const SchemaPlace& place) const {
  const Json* list = place.find("enum");
  const Json* one = place.find("const");
  if (!list && !one) return std::nullopt;
  if (list && !list->is_array()) throw InputError(place.at("enum").text + ": expected a list of values");
  const SchemaTypes allowed = place.find("type") ? types(place) : kAllTypes;
  std::vector<std::string> result;
  const auto take = [&](const Json& value) {
    if (!(type_of(value) & allowed)) return;
    if (list && one && std::find(list->begin(), list->end(), *one) == list->end()) return;
    try {
      result.push_back(value.dump());
    } catch (const Json::exception&) {
      throw InputError(place.text + ": a constant is not valid UTF-8");
    }
  };
  if (one) {
    take(*one);
  } else {
    for (const Json& value : *list) take(value);
  }
  if (result.empty()) {
    throw InputError(place.at(one ? "const" : "enum").text + ": no value is left" +
                     (place.find("type") ? " that has the type" : ""));
  }
  return result;
}

SchemaTypes SchemaDocument::types(const SchemaPlace& place) const {
  SchemaTypes result = 0;
  const Json* type = place.find("type");
  if (!type) {
    for (const auto& item : place.json->items()) {
      const auto typed = kTyped.find(item.key());
      if (typed != kTyped.end()) result |= typed->second;
    }
    return result ? result : kAllTypes;
  }
  const auto add = [&](const Json& name) {
    const auto known = name.is_string() ? kTypeNames.find(name.get_ref<const std::string&>()) : kTypeNames.end();
    if (known == kTypeNames.end()) {
      throw InputError(place.at("type").text +
                       ": expected object, array, string, number, integer, boolean, null or a list of these");
    }
    result |= known->second;
  };
  if (type->is_array()) {
    for (const Json& name : *type) add(name);
    if (type->empty()) throw InputError(place.at("type").text + ": an empty list");
  } else {
    add(*type);
  }
  return result;
}

SchemaDocument::Facts SchemaDocument::facts_of(SchemaPlace place) const {
  Facts facts;
  for (int followed = 0; place.json->is_object(); followed++) {
    check_keywords(place);
    const auto target = reference(place);
    if (target && followed < 32) {
      place = *target;
      continue;
    }
    if (target || place.find("anyOf") || place.find("oneOf") || place.find("allOf")) return facts;
    facts.constants = constants(place);
    if (facts.constants) {
      facts.types = 0;
      for (std::string& text : *facts.constants) {
        const Json value = Json::parse(text);
        facts.types |= type_of(value);
        // 1 and 1.0 are the same value
        if (value.is_number() && type_of(value) == kInteger) text = std::to_string(value.get<double>());
      }
      std::sort(facts.constants->begin(), facts.constants->end());
      // and so are objects in another order, which is not looked into
      if (facts.types & (kArray | kObject)) facts.constants.reset();
    } else {
      facts.types = types(place);
    }
    facts.place = place;
    return facts;
  }
  if (*place.json == Json(false)) facts.types = 0;
  return facts;
}

bool SchemaDocument::apart(const Facts& a, const Facts& b) const {
  const auto disjoint = [](const std::vector<std::string>& x, const std::vector<std::string>& y) {
    return std::none_of(x.begin(), x.end(),
                        [&](const std::string& value) { return std::binary_search(y.begin(), y.end(), value); });
  };
  const SchemaTypes common = a.types & b.types;
  if (common == 0) return true;
  if (a.constants && b.constants) return disjoint(*a.constants, *b.constants);
  if (common != kObject || !a.place || !b.place) return false;
  const auto constants_of = [&](const Facts& facts,
                                const std::string& name) -> std::optional<std::vector<std::string>> {
    const Json* properties = facts.place->find("properties");
    const Json* required = facts.place->find("required");
    if (!properties || !properties->is_object() || !required || !required->is_array()) return std::nullopt;
    if (std::find(required->begin(), required->end(), Json(name)) == required->end()) return std::nullopt;
    const auto property = properties->find(name);
    if (property == properties->end()) return std::nullopt;
    return facts_of({&*property, facts.place->text + "/properties/" + name}).constants;
  };
  const Json* properties = a.place->find("properties");
  if (!properties || !properties->is_object()) return false;
  for (const auto& item : properties->items()) {
    const auto mine = constants_of(a, item.key()), other = constants_of(b, item.key());
    if (mine && other && disjoint(*mine, *other)) return true;
  }
  return false;
}

void SchemaDocument::check_apart(const std::vector<SchemaPlace>& places) const {
  if (places.size() > kMostOneOf) {
    throw UnsupportedError(places[0].text + ": oneOf of more than " + std::to_string(kMostOneOf) +
                           " schemas. Use anyOf");
  }
  std::vector<Facts> facts;
  for (const SchemaPlace& place : places) facts.push_back(facts_of(place));
  for (size_t i = 0; i < places.size(); i++) {
    for (size_t j = 0; j < i; j++) {
      if (apart(facts[j], facts[i])) continue;
      throw UnsupportedError(
          places[i].text + ": a value might satisfy alternative " + std::to_string(j) +
          ", too, which oneOf forbids: neither their types nor a constant of a required property tell "
          "them apart. Use anyOf");
    }
  }
}

}  // namespace pare
