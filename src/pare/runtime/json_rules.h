// The rules of JSON as parts of a ByteAutomaton. Each function gives the node at which its text begins; it ends in a
// final node. What is the same is built once.
//
// Narrower than JSON, so that a model cannot run on and every reader takes the result:
//   numbers   at most 16 digits before the point, 16 behind it, 2 in the exponent: always a finite double
//   integers  at most 18 digits, none of them behind a point; no -0
//   strings   valid UTF-8, no lone surrogate escapes
//   space     Space::one: at most one blank behind each comma and colon, none elsewhere
//             Space::lines: also one line break with at most 20 blanks or tabs, around the values of objects and arrays
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/runtime/byte_automaton.h"

namespace pare {

// A number between whole bounds. |bound| <= kWidest, which also stands for no bound.
struct NumberRange {
  static constexpr int64_t kWidest = 999'999'999'999'999'999;  // 18 digits
  int64_t lowest = -kWidest, highest = kWidest;
  bool lowest_excluded = false, highest_excluded = false;
};

// A property that a schema names.
struct Property {
  std::string name;
  NodeId value = kNoNode;
  bool required = false;
};

// As JSON writes it, with its quotes. InputError for what is not UTF-8.
std::string quoted_json(const std::string& text);

class JsonRules {
 public:
  enum class Space { one, lines };
  static constexpr uint32_t kNoLimit = ~uint32_t{0};

  explicit JsonRules(ByteAutomaton& automaton) : automaton_(automaton) {}

  NodeId string(uint32_t shortest = 0, uint32_t longest = kNoLimit);  // characters between the quotes
  NodeId number();
  NodeId number(const NumberRange& range);  // written without an exponent
  NodeId integer(const NumberRange& range);
  NodeId literals(const std::vector<std::string>& texts);  // one of them, as it stands
  NodeId any(Space space);
  NodeId any_object(Space space) { return any_rules(space)[1]; }
  NodeId any_array(Space space) { return any_rules(space)[2]; }
  NodeId one_of(const std::vector<NodeId>& rules);

  // `first` in their places, then `rest` (kNoNode: nothing more). `most`: kNoLimit for any number.
  NodeId array(const std::vector<NodeId>& first, NodeId rest, uint32_t least, uint32_t most);
  // Properties in this order; `extra`: the value of others behind them, kNoNode for none.
  NodeId object(const std::vector<Property>& properties, NodeId extra);

 private:
  using Edge = ByteAutomaton::Edge;
  using Guard = ByteAutomaton::Guard;
  using Update = ByteAutomaton::Update;

  NodeId add_byte(NodeId from, char byte, bool opens = false);
  NodeId add_text(NodeId from, std::string_view text);
  NodeId add_space(NodeId from, Space space);
  NodeId final_node();
  void add_characters(NodeId from, Edge begins);
  NodeId digits(NodeId from, uint32_t most, NodeId target, char lowest = '0');
  NodeId magnitude(uint64_t lowest, uint64_t highest, NodeId after);
  NodeId decimal(uint64_t lowest, bool lowest_excluded, uint64_t highest, bool highest_excluded);
  std::array<NodeId, 3> any_rules(Space space);  // value, object, array
  void add_keys(NodeId root, const std::vector<Property>& properties, uint32_t object,
                const std::vector<NodeId>& behind, NodeId behind_extra);

  ByteAutomaton& automaton_;
  std::map<std::pair<uint32_t, uint32_t>, NodeId> strings_;
  std::map<Space, std::array<NodeId, 3>> any_;
  std::map<std::vector<std::string>, NodeId> literals_;
  NodeId free_characters_ = kNoNode;  // inside a string without limits
  NodeId number_ = kNoNode, line_space_ = kNoNode, final_ = kNoNode;
};

}  // namespace pare
