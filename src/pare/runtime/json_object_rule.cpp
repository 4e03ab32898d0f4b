// Objects with named properties. Their names are one trie, and the frame's count says which of them may come next; so
// an object with a hundred optional properties is one reading, not a hundred.
#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/runtime/json_rules.h"

namespace pare {

namespace {

struct KeyTrie {
  struct Node {
    std::map<uint8_t, uint32_t> children;
    std::vector<uint32_t> below;  // the properties at or under this node, rising
    int64_t property = -1;        // the one whose name ends here
  };
  std::vector<Node> nodes{1};

  explicit KeyTrie(const std::vector<Property>& properties) {
    for (uint32_t i = 0; i < properties.size(); i++) {
      const std::string quoted = quoted_json(properties[i].name);
      uint32_t at = 0;
      nodes[0].below.push_back(i);
      for (size_t pos = 1; pos + 1 < quoted.size(); pos++) {
        const auto next = static_cast<uint32_t>(nodes.size());
        const auto [child, fresh] = nodes[at].children.try_emplace(static_cast<uint8_t>(quoted[pos]), next);
        at = child->second;
        if (fresh) nodes.emplace_back();
        nodes[at].below.push_back(i);
      }
      PARE_ASSERT(nodes[at].property < 0);
      nodes[at].property = i;
    }
  }
};

}  // namespace

std::string quoted_json(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw InputError("json_schema: a name or a constant is not valid UTF-8");
  }
}

NodeId JsonRules::object(const std::vector<Property>& properties, NodeId extra) {
  const auto count = static_cast<uint32_t>(properties.size());
  ByteAutomaton::KeyObject keys;
  keys.next_required.assign(count + 1, count);
  for (uint32_t i = count; i-- > 0;) keys.next_required[i] = properties[i].required ? i : keys.next_required[i + 1];
  for (const Property& property : properties) keys.values.push_back(property.value);
  keys.extra = extra;
  const uint32_t object = automaton_.add_key_object(std::move(keys));

  const NodeId start = automaton_.add_node(), end = final_node(), name = automaton_.add_node();
  const NodeId opened = add_byte(start, '{', true), between = automaton_.add_node();
  const auto add_close = [&](NodeId from) {
    automaton_.add_edge(from, {.first = '}', .last = '}', .guard = Guard::no_key_due, .bound = object, .target = end});
  };
  const auto add_guarded = [&](NodeId from, char byte, NodeId to) {
    automaton_.add_edge(from, {.first = static_cast<uint8_t>(byte),
                               .last = static_cast<uint8_t>(byte),
                               .guard = Guard::more_keys,
                               .bound = object,
                               .target = to});
  };
  for (const Property& property : properties) {
    if (property.required) automaton_.add_need(opened, property.value);
  }
  add_close(opened);
  add_guarded(opened, '"', name);
  add_close(between);
  const NodeId comma = automaton_.add_node();
  add_guarded(between, ',', comma);
  automaton_.add_edge(add_space(comma, Space::one), {.first = '"', .last = '"', .target = name});

  std::vector<NodeId> behind;  // the closing quote of each name
  const auto add_value = [&](NodeId value) {
    const NodeId from = automaton_.add_node();
    automaton_.add_call(add_space(add_byte(from, ':'), Space::one), value, between);
    return from;
  };
  for (const Property& property : properties) behind.push_back(add_value(property.value));
  add_keys(name, properties, object, behind, extra == kNoNode ? kNoNode : add_value(extra));
  return start;
}

// A name that the schema does not have leaves the trie at the byte that no name has, into the rest of a plain string.
// As long as longer names begin like it, it has no escapes: \u0061 must not be another way to write a name of the
// schema.
void JsonRules::add_keys(NodeId root, const std::vector<Property>& properties, uint32_t object,
                         const std::vector<NodeId>& behind, NodeId behind_extra) {
  string();
  const KeyTrie trie(properties);
  struct Place {
    uint32_t at;        // in the trie
    NodeId node;        // what is built for it
    NodeId characters;  // where a plain string would be
    bool escape;        // inside of one
  };
  std::map<NodeId, NodeId> rests;  // of a string that goes on at a node of it, then the colon
  const auto rest_of = [&](NodeId characters) {
    NodeId& rest = rests.try_emplace(characters, kNoNode).first->second;
    if (rest == kNoNode) {
      rest = automaton_.add_node();
      automaton_.add_call(rest, characters, behind_extra);
    }
    return rest;
  };
  const auto past = static_cast<uint32_t>(properties.size());
  std::vector<Place> todo{{0, root, free_characters_, false}};
  while (!todo.empty()) {
    const Place place = todo.back();
    todo.pop_back();
    const KeyTrie::Node& node = trie.nodes[place.at];
    std::array<bool, 256> taken{};
    taken['\\'] = !node.children.empty();  // else nothing that is written from here is a name of the schema
    for (const auto& [byte, child] : node.children) {
      taken[byte] = true;
      NodeId characters = kNoNode;
      for (const Edge& edge : automaton_.built_edges(place.characters)) {
        if (edge.first <= byte && byte <= edge.last) characters = edge.target;
      }
      PARE_ASSERT(characters != kNoNode);
      const bool escape = (place.escape || byte == '\\') && characters != free_characters_;
      const NodeId next = automaton_.add_node();
      automaton_.add_edge(
          place.node, {.first = byte,
                       .last = byte,
                       .guard = escape || place.escape || behind_extra == kNoNode ? Guard::key : Guard::key_or_extra,
                       .bound = automaton_.add_key_range(object, trie.nodes[child].below),
                       .target = next});
      todo.push_back({child, next, characters, escape});
    }
    if (node.property >= 0) {
      const auto property = static_cast<uint32_t>(node.property);
      taken['"'] = true;
      automaton_.add_edge(place.node, {.first = '"',
                                       .last = '"',
                                       .guard = Guard::key,
                                       .update = Update::set,
                                       .bound = automaton_.add_key_range(object, std::array{property}),
                                       .value = property + 1,
                                       .target = behind[property]});
    }
    if (behind_extra == kNoNode || place.escape) continue;
    const auto plain = automaton_.built_edges(place.characters);
    for (const Edge& edge : std::vector<Edge>(plain.begin(), plain.end())) {
      const NodeId target = edge.first == '"' ? behind_extra : rest_of(edge.target);
      for (int byte = edge.first; byte <= edge.last; byte++) {
        if (taken[static_cast<size_t>(byte)]) continue;
        int last = byte;
        while (last < edge.last && !taken[static_cast<size_t>(last) + 1]) last++;
        automaton_.add_edge(place.node, {.first = static_cast<uint8_t>(byte),
                                         .last = static_cast<uint8_t>(last),
                                         .guard = Guard::extra,
                                         .update = Update::set,
                                         .bound = object,
                                         .value = past,
                                         .target = target});
        byte = last;
      }
    }
  }
}

}  // namespace pare
