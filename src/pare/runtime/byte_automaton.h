// A pushdown automaton over bytes: what a JSON schema becomes, and what text is checked against as it is written.
//
//   node  --byte range-->  node          the frame moves on
//   node  --call-------->  start, back   a frame at `start` is put on top; when it is left, its caller goes on at
//   `back` node  --final                        the frame may be left
//
// A frame is (node, count, depth): one count per frame counts the characters of a string, the items of an array or says
// which property of an object comes next; so "maxLength": 1000000 is one node, not a million. The depth is that of open
// containers. A reading of the text so far is a stack of frames, and there is a set of them where alternatives are
// open.
//
// No dead ends: finish() removes what cannot be completed and gives each node its height (the containers that must
// still be opened to leave its frame); a step that would need more than kDeepest is not taken. So whatever was accepted
// can be completed, and every token that the mask allows is a good one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pare {

using NodeId = uint32_t;
inline constexpr NodeId kNoNode = ~NodeId{0};
inline constexpr uint32_t kDeepest = 60;  // open containers; parse_json takes 64

class ByteAutomaton {
 public:
  enum class Guard : uint8_t {
    none,
    below,         // count < bound
    at_least,      // count >= bound
    key,           // a property that may come next is among key_ranges[bound]
    key_or_extra,  // that, or one that the schema does not name may come
    extra,         // one that key_objects[bound] does not name may come
    more_keys,     // any property of key_objects[bound] may come
    no_key_due,    // no property of key_objects[bound] is missing
  };
  enum class Update : uint8_t { keep, count, set };  // count: up to `value`, where it stays; set: to `value`
  struct Edge {
    uint8_t first = 0, last = 0;
    Guard guard = Guard::none;
    Update update = Update::keep;
    bool opens = false;  // a container
    uint32_t bound = 0, value = 0;
    NodeId target = kNoNode;
  };
  struct Call {
    NodeId start = kNoNode;  // kNoNode: nothing is called, the frame goes on at `back` without a byte
    NodeId back = kNoNode;
  };
  // Properties in the order in which they are written; those not required may be left out.
  struct KeyObject {
    std::vector<uint32_t> next_required;  // by index, one more than there are: the first required one from there on
    std::vector<NodeId> values;
    NodeId extra = kNoNode;  // the value of a property not named; kNoNode: there may be none
  };

  // --- building
  NodeId add_node();
  void add_edge(NodeId from, const Edge& edge);  // the edges of one node must not overlap
  void add_call(NodeId from, NodeId start, NodeId back);
  void add_jump(NodeId from, NodeId to) { add_call(from, kNoNode, to); }
  void set_final(NodeId node) { building_[node].final = true; }
  void add_need(NodeId node, NodeId needed) { building_[node].needs.push_back(needed); }  // must be passable, too
  uint32_t add_key_object(KeyObject object);
  uint32_t add_key_range(uint32_t object, std::span<const uint32_t> indices);  // rising
  KeyObject& key_object(uint32_t index) { return key_objects_[index]; }
  std::span<const Edge> built_edges(NodeId node) const { return building_[node].edges; }
  size_t size() const { return building_.empty() ? nodes_.size() : building_.size(); }
  // `where` names the schema in messages. InputError when nothing of finite depth is accepted, or a rule begins with
  // itself. Nothing may be added afterwards.
  void finish(NodeId start, const std::string& where);

  // --- running
  static constexpr uint32_t kRoot = ~uint32_t{0};         // parents: there is none, the text ends
  static constexpr uint32_t kUnknown = ~uint32_t{0} - 1;  // and it is not known (TokenMask)
  struct Frame {
    NodeId node = kNoNode;
    uint32_t count = 0;
    uint32_t depth = 0;
    uint32_t parent = kRoot;  // index of the frame below it in Stacks::below
    bool operator==(const Frame&) const = default;
  };
  // Several sets of readings may share `below`; each is a range of `tops`.
  struct Stacks {
    std::vector<Frame> below;
    std::vector<Frame> tops;
    std::vector<Frame> scratch;
    uint64_t steps = 0;  // taken so far
    uint64_t most_steps = ~uint64_t{0};
  };
  struct Outcome {
    bool ended = false;  // a reading reached the end of the text
    bool left = false;   // a reading was left to an unknown parent
  };
  // Appends to stacks.tops the readings after `byte` of those in [begin, end). ResourceError past kMostReadings or
  // most_steps.
  Outcome advance(Stacks& stacks, size_t begin, size_t end, uint8_t byte) const;
  // Appends the readings that begin at a frame which has just been reached (a start, or a caller that goes on).
  Outcome settle(Stacks& stacks, const Frame& frame, size_t tops_begin, size_t below_begin) const;
  NodeId start() const { return start_; }

  // What of a frame's count matters to a text of at most `longest` bytes: equal results, equal behaviour.
  uint32_t count_class(const Frame& frame, uint32_t longest) const;
  // Whether a container may be opened before a frame at this node is left; if not, its depth does not matter.
  bool may_open(NodeId node) const { return nodes_[node].may_open; }

 private:
  struct BuildingNode {
    std::vector<Edge> edges;
    std::vector<Call> calls;
    std::vector<NodeId> needs;
    bool final = false;
  };
  struct Node {
    uint32_t edges = 0, calls = 0;  // where its own begin; they end where those of the next node begin
    uint32_t height = 0;
    uint32_t lookup = 0;  // which table of 256; 0: the edges are few
    bool final = false;
    bool may_open = false;
    bool counts = false;               // a guard compares the count with bounds
    uint32_t lowest = 0, highest = 0;  // of these
  };
  struct KeyRange {
    uint32_t object = 0, begin = 0, end = 0;  // of key_indices_
  };

  void compute_heights();
  void refuse_left_recursion(const std::string& where) const;
  void flatten();
  void find_openers();
  bool passes(const Edge& edge, const Frame& frame) const;
  bool value_fits(NodeId value, const Frame& frame) const;
  bool key_fits(const KeyRange& range, const Frame& frame) const;
  bool extra_fits(const KeyObject& object, const Frame& frame) const;
  static bool same_stack(const Stacks& stacks, const Frame& a, const Frame& b);
  const Edge* edge_of(const Node& node, uint8_t byte) const;

  std::vector<BuildingNode> building_;
  std::vector<uint32_t> heights_;  // while building
  std::vector<Node> nodes_;
  std::vector<Edge> edges_;
  std::vector<Call> calls_;
  std::vector<std::vector<uint8_t>> lookups_;  // edge of each byte, counted from 1; 0: none
  std::vector<KeyObject> key_objects_;
  std::vector<KeyRange> key_ranges_;
  std::vector<uint32_t> key_indices_;
  NodeId start_ = kNoNode;
};

}  // namespace pare
