#include "pare/runtime/json_schema.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/runtime/json_rules.h"
#include "pare/runtime/json_schema_place.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;

constexpr JsonRules::Space kSpace = JsonRules::Space::one;

class SchemaCompiler {
 public:
  SchemaCompiler(const Json& schema, ByteAutomaton& automaton)
      : document_(schema), rules_(automaton), automaton_(automaton) {}

  NodeId compile() {
    const NodeId start = node_of({&document_.root(), "json_schema: #"});
    // A list instead of recursion: a schema refers to itself, and its parts are built once each
    while (!todo_.empty()) {
      const auto [place, node] = todo_.back();
      todo_.pop_back();
      automaton_.add_jump(node, rule_of(place));
    }
    return start;
  }

 private:
  NodeId node_of(const SchemaPlace& place) {
    NodeId& node = nodes_.try_emplace(place.json, kNoNode).first->second;
    if (node == kNoNode) {
      node = automaton_.add_node();
      todo_.emplace_back(place, node);
    }
    return node;
  }

  NodeId rule_of(const SchemaPlace& place) {
    if (place.json->is_boolean()) return place.json->get<bool>() ? rules_.any(kSpace) : automaton_.add_node();
    document_.check_keywords(place);
    if (const auto target = document_.reference(place)) return node_of(*target);
    for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
      if (const Json* list = place.find(keyword)) return alternatives(place, keyword, *list);
    }
    if (const auto constants = document_.constants(place)) return rules_.literals(*constants);
    return typed(place);
  }

  NodeId alternatives(const SchemaPlace& place, const std::string& keyword, const Json& list) {
    if (!list.is_array() || list.empty())
      throw InputError(place.at(keyword).text + ": expected a list that is not empty");
    std::vector<SchemaPlace> places;
    for (size_t i = 0; i < list.size(); i++)
      places.push_back({&list[i], place.text + "/" + keyword + "/" + std::to_string(i)});
    if (keyword == "allOf" && places.size() > 1) {
      throw UnsupportedError(place.at(keyword).text + ": allOf of more than one schema. Write them as one");
    }
    if (keyword == "oneOf") document_.check_apart(places);
    std::vector<NodeId> rules;
    std::vector<std::string> constants;  // of all alternatives that are nothing else: one reading together
    for (const SchemaPlace& one : places) {
      const auto own = one.json->is_object() ? document_.check_keywords(one).constants(one) : std::nullopt;
      if (own) {
        constants.insert(constants.end(), own->begin(), own->end());
      } else {
        rules.push_back(node_of(one));
      }
    }
    if (!constants.empty()) rules.push_back(rules_.literals(constants));
    return rules_.one_of(rules);
  }

  NodeId typed(const SchemaPlace& place) {
    const SchemaTypes types = document_.types(place);
    if (types == kAllTypes && !place.find("type")) return rules_.any(kSpace);
    std::vector<NodeId> rules;
    if (types & kNull) rules.push_back(rules_.literals({"null"}));
    if (types & kBoolean) rules.push_back(rules_.literals({"true", "false"}));
    if (types & kString) {
      const auto [least, most] = limits(place, "minLength", "maxLength");
      rules.push_back(rules_.string(least, most));
    }
    if (types & kFraction) {
      rules.push_back(number(place));
    } else if (types & kInteger) {
      rules.push_back(rules_.integer(range(place, true)));
    }
    if (types & kArray) rules.push_back(array(place));
    if (types & kObject) rules.push_back(object(place));
    return rules_.one_of(rules);
  }

  NodeId number(const SchemaPlace& place) {
    const bool bounded = place.find("minimum") || place.find("maximum") || place.find("exclusiveMinimum") ||
                         place.find("exclusiveMaximum");
    return bounded ? rules_.number(range(place, false)) : rules_.number();
  }

  NodeId array(const SchemaPlace& place) {
    const auto [least, most] = limits(place, "minItems", "maxItems");
    std::vector<NodeId> first;
    if (const Json* fixed = place.find("prefixItems")) {
      if (!fixed->is_array()) throw InputError(place.at("prefixItems").text + ": expected a list of schemas");
      for (size_t i = 0; i < fixed->size(); i++) {
        first.push_back(node_of({&(*fixed)[i], place.text + "/prefixItems/" + std::to_string(i)}));
      }
    }
    NodeId rest = kNoNode;
    if (const Json* items = place.find("items")) {
      if (items->is_array()) {
        throw UnsupportedError(place.at("items").text +
                               ": a list of schemas is older than 2020-12. Call it prefixItems");
      }
      if (*items != Json(false)) rest = node_of(place.at("items"));
    } else if (first.size() < least || first.empty()) {
      rest = rules_.any(kSpace);
    }
    return rules_.array(first, rest, least, most);
  }

  NodeId object(const SchemaPlace& place) {
    const Json* named = place.find("properties");
    if (named && !named->is_object()) throw InputError(place.at("properties").text + ": expected an object of schemas");
    NodeId extra = named ? kNoNode : rules_.any(kSpace);
    const Json* others = place.find("additionalProperties");
    if (others) {
      const bool none = *others == Json(false), all = *others == Json(true);
      extra = none ? kNoNode : all ? rules_.any(kSpace) : node_of(place.at("additionalProperties"));
    }
    std::vector<Property> properties;
    std::map<std::string, size_t> index;
    if (named) {
      const SchemaPlace where = place.at("properties");
      for (const auto& item : named->items()) {
        index.emplace(item.key(), properties.size());
        properties.push_back({item.key(), node_of(where.child(item.key(), item.value())), false});
      }
    }
    if (const Json* required = place.find("required")) {
      if (!required->is_array()) throw InputError(place.at("required").text + ": expected a list of names");
      for (const Json& name : *required) {
        if (!name.is_string()) throw InputError(place.at("required").text + ": expected a list of names");
        const auto [at, fresh] = index.emplace(name.get<std::string>(), properties.size());
        if (fresh) {
          if (others && extra == kNoNode) {
            throw InputError(place.at("required").text + ": \"" + name.get<std::string>() +
                             "\" is not among properties, and additionalProperties forbids others. Name it there");
          }
          properties.push_back({name.get<std::string>(), extra == kNoNode ? rules_.any(kSpace) : extra, false});
        }
        properties[at->second].required = true;
      }
    }
    if (properties.empty() && !named && !others) return rules_.any_object(kSpace);
    return rules_.object(properties, extra);
  }

  // Of a string's characters or an array's items.
  std::pair<uint32_t, uint32_t> limits(const SchemaPlace& place, const char* lower, const char* upper) {
    constexpr double kMost = JsonRules::kNoLimit - 1;
    const auto read = [&](const char* keyword, uint32_t absent) {
      const Json* json = place.find(keyword);
      if (!json) return absent;
      const double value = json->is_number() ? json->get<double>() : -1;
      if (!(value >= 0) || value != std::floor(value)) {
        throw InputError(place.at(keyword).text + ": expected a whole number, 0 or more");
      }
      return static_cast<uint32_t>(std::min(value, kMost));
    };
    const uint32_t least = read(lower, 0), most = read(upper, JsonRules::kNoLimit);
    if (least > most) throw InputError(place.at(lower).text + ": is larger than " + upper);
    return {least, most};
  }

  NumberRange range(const SchemaPlace& place, bool whole) {
    NumberRange range;
    for (const char* keyword : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}) {
      const Json* json = place.find(keyword);
      if (!json) continue;
      const std::string where = place.at(keyword).text;
      if (!json->is_number()) throw InputError(where + ": expected a number");
      const bool lower = std::string_view(keyword).ends_with("inimum");
      bool excluded = keyword[0] == 'e';
      constexpr int64_t kWidest = NumberRange::kWidest;
      int64_t bound = 0;
      if (json->is_number_integer()) {
        const bool above = json->is_number_unsigned() && json->get<uint64_t>() > uint64_t{kWidest};
        bound = above ? kWidest + 1 : std::max(json->get<int64_t>(), -kWidest - 1);
        bound = std::min(bound, kWidest + 1);
      } else {
        const double value = json->get<double>();
        if (value != std::floor(value)) {
          if (!whole) {
            throw UnsupportedError(where + ": a bound that is not a whole number. Use one, or leave it out");
          }
          excluded = false;
        }
        const double near = lower ? std::ceil(value) : std::floor(value);
        bound = near > 1e18 ? kWidest + 1 : near < -1e18 ? -kWidest - 1 : static_cast<int64_t>(near);
      }
      if (lower ? bound > kWidest : bound < -kWidest) {
        throw UnsupportedError(where + ": numbers of more than 18 digits are not written");
      }
      if (lower && bound >= -kWidest && (bound > range.lowest || (bound == range.lowest && excluded))) {
        range.lowest = bound;
        range.lowest_excluded = excluded;
      }
      if (!lower && bound <= kWidest && (bound < range.highest || (bound == range.highest && excluded))) {
        range.highest = bound;
        range.highest_excluded = excluded;
      }
    }
    const int64_t room = range.highest - range.lowest - ((whole && range.lowest_excluded) ? 1 : 0) -
                         ((whole && range.highest_excluded) ? 1 : 0);
    if (room < 0 || (room == 0 && !whole && (range.lowest_excluded || range.highest_excluded))) {
      throw InputError(place.text + ": no number is between its bounds");
    }
    return range;
  }

  SchemaDocument document_;
  JsonRules rules_;
  ByteAutomaton& automaton_;
  std::map<const Json*, NodeId> nodes_;
  std::vector<std::pair<SchemaPlace, NodeId>> todo_;
};

}  // namespace

ByteAutomaton compile_json_schema(const Json& schema) {
  ByteAutomaton automaton;
  const NodeId start = SchemaCompiler(schema, automaton).compile();
  automaton.finish(start, "json_schema");
  return automaton;
}

}  // namespace pare
