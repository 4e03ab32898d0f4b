// YAML from outside as a plain tree that knows its lines.
//
// Built from yaml-cpp's events, not from its nodes: so aliases (which make a small file a huge tree) are refused before
// anything is expanded, sizes and depth are bounded, and of two equal keys neither is lost unseen.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pare {

struct YamlNode {
  enum class Kind { null, scalar, sequence, map };

  Kind kind = Kind::null;
  std::string text;             // of a scalar
  std::vector<YamlNode> items;  // of a sequence, and the values of a map
  std::vector<YamlNode> keys;   // of a map: scalars, all different, as many as items
  int line = 0;                 // from 1

  bool is_scalar() const { return kind == Kind::scalar; }
  bool is_sequence() const { return kind == Kind::sequence; }
  bool is_map() const { return kind == Kind::map; }
  const YamlNode* find(std::string_view key) const;  // of a map; null when it is not there
  std::string describe() const;                      // "four", a list, nothing: for messages
};

// One document of at most 1 MB, 100,000 nodes and depth 32. UsageError naming `where` and the line. An empty document
// is null.
YamlNode parse_yaml(std::string_view text, const std::string& where);

// A scalar that reads back as this text, whatever is in it.
std::string yaml_quoted(std::string_view text);

}  // namespace pare
