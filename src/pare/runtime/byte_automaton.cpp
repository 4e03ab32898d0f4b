#include "pare/runtime/byte_automaton.h"

#include <algorithm>

#include "pare/base/error.h"

namespace pare {
namespace {

constexpr size_t kMostNodes = 200'000;     // some 20 MB
constexpr size_t kMostReadings = 512;      // open at once
constexpr size_t kFewEdges = 4;            // looked through; more get a table
constexpr uint32_t kNever = ~uint32_t{0};  // height of what cannot be completed

}  // namespace

NodeId ByteAutomaton::add_node() {
  if (building_.size() >= kMostNodes) {
    throw UnsupportedError("json_schema: it becomes more than " + std::to_string(kMostNodes) +
                           " states. Use shorter names and constants, or fewer");
  }
  building_.emplace_back();
  return static_cast<NodeId>(building_.size() - 1);
}

void ByteAutomaton::add_edge(NodeId from, const Edge& edge) {
  building_[from].edges.push_back(edge);
}

void ByteAutomaton::add_call(NodeId from, NodeId start, NodeId back) {
  building_[from].calls.push_back({start, back});
}

uint32_t ByteAutomaton::add_key_object(KeyObject object) {
  key_objects_.push_back(std::move(object));
  return static_cast<uint32_t>(key_objects_.size() - 1);
}

uint32_t ByteAutomaton::add_key_range(uint32_t object, std::span<const uint32_t> indices) {
  const auto begin = static_cast<uint32_t>(key_indices_.size());
  key_indices_.insert(key_indices_.end(), indices.begin(), indices.end());
  key_ranges_.push_back({object, begin, static_cast<uint32_t>(key_indices_.size())});
  return static_cast<uint32_t>(key_ranges_.size() - 1);
}

void ByteAutomaton::finish(NodeId start, const std::string& where) {
  refuse_left_recursion(where);
  compute_heights();
  if (heights_[start] == kNever) {
    throw InputError(where +
                     ": no value satisfies it: each one would have to contain another without end, or something "
                     "required is forbidden. Make that part optional");
  }
  if (heights_[start] > kDeepest) {
    throw UnsupportedError(where + ": every value that satisfies it is nested " + std::to_string(heights_[start]) +
                           " deep; at most " + std::to_string(kDeepest) + " are written");
  }
  start_ = start;
  flatten();
}

// height = the least over all ways on, and at least that of every need. Values only fall from kNever, so a worklist of
// the nodes whose successors changed ends.
void ByteAutomaton::compute_heights() {
  const size_t count = building_.size();
  heights_.assign(count, kNever);
  std::vector<std::vector<NodeId>> before(count);
  for (NodeId i = 0; i < count; i++) {
    const BuildingNode& node = building_[i];
    for (const Edge& edge : node.edges) before[edge.target].push_back(i);
    for (const Call& call : node.calls) {
      before[call.back].push_back(i);
      if (call.start != kNoNode) before[call.start].push_back(i);
    }
    for (NodeId needed : node.needs) before[needed].push_back(i);
  }
  std::vector<NodeId> todo(count);
  std::vector<bool> waiting(count, true);
  for (NodeId i = 0; i < count; i++) todo[count - 1 - i] = i;
  while (!todo.empty()) {
    const NodeId i = todo.back();
    todo.pop_back();
    waiting[i] = false;
    const BuildingNode& node = building_[i];
    uint32_t height = node.final ? 0 : kNever;
    for (const Edge& edge : node.edges) {
      const uint32_t target = heights_[edge.target];
      if (target != kNever) height = std::min(height, target + (edge.opens ? 1 : 0));
    }
    for (const Call& call : node.calls) {
      const uint32_t called = call.start == kNoNode ? 0 : heights_[call.start];
      height = std::min(height, std::max(called, heights_[call.back]));
    }
    for (NodeId needed : node.needs) height = std::max(height, heights_[needed]);
    if (height >= heights_[i]) continue;
    heights_[i] = height;
    for (NodeId other : before[i]) {
      if (!waiting[other]) {
        waiting[other] = true;
        todo.push_back(other);
      }
    }
  }
}

// Depth first along what takes no byte: a node met again on the way there would be entered without end.
void ByteAutomaton::refuse_left_recursion(const std::string& where) const {
  enum : uint8_t { fresh, open, done };
  std::vector<uint8_t> state(building_.size(), fresh);
  struct Visit {
    NodeId node;
    size_t next;
  };
  std::vector<Visit> path;
  for (NodeId from = 0; from < building_.size(); from++) {
    if (state[from] != fresh) continue;
    path.push_back({from, 0});
    state[from] = open;
    while (!path.empty()) {
      Visit& visit = path.back();
      const std::vector<Call>& calls = building_[visit.node].calls;
      if (visit.next == 2 * calls.size()) {
        state[visit.node] = done;
        path.pop_back();
        continue;
      }
      const Call& call = calls[visit.next / 2];
      const bool is_start = visit.next++ % 2 == 0;
      const bool passes_start = call.start == kNoNode || building_[call.start].final;
      const NodeId next = is_start ? call.start : passes_start ? call.back : kNoNode;
      if (next == kNoNode || state[next] == done) continue;
      if (state[next] == open) {
        throw InputError(where +
                         ": a $ref leads back to itself through anyOf or $ref alone. Put the recursion inside a "
                         "property or an item");
      }
      state[next] = open;
      path.push_back({next, 0});
    }
  }
}

void ByteAutomaton::flatten() {
  lookups_.emplace_back();  // index 0 stands for none
  nodes_.reserve(building_.size() + 1);
  for (NodeId i = 0; i < building_.size(); i++) {
    BuildingNode& from = building_[i];
    Node node{.edges = static_cast<uint32_t>(edges_.size()),
              .calls = static_cast<uint32_t>(calls_.size()),
              .height = heights_[i],
              .final = from.final};
    node.lowest = kNever;
    for (const Edge& edge : from.edges) {
      if (heights_[edge.target] == kNever) continue;
      if (edge.guard == Guard::below || edge.guard == Guard::at_least) {
        node.counts = true;
        node.lowest = std::min(node.lowest, edge.bound);
        node.highest = std::max(node.highest, edge.bound);
      }
      edges_.push_back(edge);
    }
    for (const Call& call : from.calls) {
      if (heights_[call.back] != kNever && (call.start == kNoNode || heights_[call.start] != kNever)) {
        calls_.push_back(call);
      }
    }
    const size_t own = edges_.size() - node.edges;
    if (own > kFewEdges) {
      PARE_ASSERT(own < 256);
      node.lookup = static_cast<uint32_t>(lookups_.size());
      std::vector<uint8_t>& table = lookups_.emplace_back(256, uint8_t{0});
      for (size_t e = 0; e < own; e++) {
        const Edge& edge = edges_[node.edges + e];
        std::fill(table.begin() + edge.first, table.begin() + edge.last + 1, static_cast<uint8_t>(e + 1));
      }
    }
    nodes_.push_back(node);
    from = {};
  }
  nodes_.push_back({.edges = static_cast<uint32_t>(edges_.size()), .calls = static_cast<uint32_t>(calls_.size())});
  find_openers();
  std::vector<BuildingNode>().swap(building_);
  std::vector<uint32_t>().swap(heights_);
}

void ByteAutomaton::find_openers() {
  const size_t count = nodes_.size() - 1;
  std::vector<std::vector<NodeId>> before(count);
  std::vector<NodeId> todo;
  for (NodeId i = 0; i < count; i++) {
    for (uint32_t e = nodes_[i].edges; e < nodes_[i + 1].edges; e++) {
      before[edges_[e].target].push_back(i);
      nodes_[i].may_open |= edges_[e].opens;
    }
    for (uint32_t c = nodes_[i].calls; c < nodes_[i + 1].calls; c++) {
      before[calls_[c].back].push_back(i);
      if (calls_[c].start != kNoNode) before[calls_[c].start].push_back(i);
    }
    if (nodes_[i].may_open) todo.push_back(i);
  }
  while (!todo.empty()) {
    const NodeId i = todo.back();
    todo.pop_back();
    for (NodeId other : before[i]) {
      if (!nodes_[other].may_open) {
        nodes_[other].may_open = true;
        todo.push_back(other);
      }
    }
  }
}

const ByteAutomaton::Edge* ByteAutomaton::edge_of(const Node& node, uint8_t byte) const {
  if (node.lookup) {
    const uint8_t found = lookups_[node.lookup][byte];
    return found ? &edges_[node.edges + found - 1] : nullptr;
  }
  const uint32_t end = (&node)[1].edges;
  for (uint32_t i = node.edges; i < end; i++) {
    if (edges_[i].first <= byte && byte <= edges_[i].last) return &edges_[i];
  }
  return nullptr;
}

bool ByteAutomaton::value_fits(NodeId value, const Frame& frame) const {
  const uint32_t height = nodes_[value].height;
  return height != kNever && frame.depth + height <= kDeepest;
}

bool ByteAutomaton::key_fits(const KeyRange& range, const Frame& frame) const {
  const KeyObject& object = key_objects_[range.object];
  const uint32_t last = object.next_required[frame.count];
  const auto end = key_indices_.begin() + range.end;
  for (auto at = std::lower_bound(key_indices_.begin() + range.begin, end, frame.count); at != end && *at <= last;
       at++) {
    if (value_fits(object.values[*at], frame)) return true;
  }
  return false;
}

bool ByteAutomaton::extra_fits(const KeyObject& object, const Frame& frame) const {
  return object.extra != kNoNode && object.next_required[frame.count] == object.values.size() &&
         value_fits(object.extra, frame);
}

bool ByteAutomaton::passes(const Edge& edge, const Frame& frame) const {
  switch (edge.guard) {
    case Guard::none:
      return true;
    case Guard::below:
      return frame.count < edge.bound;
    case Guard::at_least:
      return frame.count >= edge.bound;
    case Guard::key:
      return key_fits(key_ranges_[edge.bound], frame);
    case Guard::key_or_extra:
      return key_fits(key_ranges_[edge.bound], frame) ||
             extra_fits(key_objects_[key_ranges_[edge.bound].object], frame);
    case Guard::extra:
      return extra_fits(key_objects_[edge.bound], frame);
    case Guard::more_keys: {
      const KeyObject& object = key_objects_[edge.bound];
      if (extra_fits(object, frame)) return true;
      const size_t last = std::min<size_t>(object.next_required[frame.count] + size_t{1}, object.values.size());
      for (size_t i = frame.count; i < last; i++) {
        if (value_fits(object.values[i], frame)) return true;
      }
      return false;
    }
    case Guard::no_key_due: {
      const KeyObject& object = key_objects_[edge.bound];
      return object.next_required[frame.count] == object.values.size();
    }
  }
  return false;
}

ByteAutomaton::Outcome ByteAutomaton::advance(Stacks& stacks, size_t begin, size_t end, uint8_t byte) const {
  Outcome outcome;
  const size_t tops_begin = stacks.tops.size(), below_begin = stacks.below.size();
  for (size_t i = begin; i < end; i++) {
    Frame frame = stacks.tops[i];
    stacks.steps++;
    const Edge* edge = edge_of(nodes_[frame.node], byte);
    if (!edge || !passes(*edge, frame)) continue;
    frame.depth += edge->opens ? 1 : 0;
    if (frame.depth + nodes_[edge->target].height > kDeepest) continue;
    frame.node = edge->target;
    if (edge->update == Update::count) frame.count = std::min(frame.count + 1, edge->value);
    if (edge->update == Update::set) frame.count = edge->value;
    const Outcome own = settle(stacks, frame, tops_begin, below_begin);
    outcome.ended |= own.ended;
    outcome.left |= own.left;
  }
  return outcome;
}

bool ByteAutomaton::same_stack(const Stacks& stacks, const Frame& a, const Frame& b) {
  if (a.node != b.node || a.count != b.count || a.depth != b.depth) return false;
  uint32_t x = a.parent, y = b.parent;
  while (x != y) {
    if (x >= kUnknown || y >= kUnknown) return false;
    const Frame& f = stacks.below[x];
    const Frame& g = stacks.below[y];
    if (f.node != g.node || f.count != g.count || f.depth != g.depth) return false;
    x = f.parent;
    y = g.parent;
  }
  return true;
}

ByteAutomaton::Outcome ByteAutomaton::settle(Stacks& stacks, const Frame& frame, size_t tops_begin,
                                             size_t below_begin) const {
  Outcome outcome;
  std::vector<Frame>& todo = stacks.scratch;
  todo.assign(1, frame);
  while (!todo.empty()) {
    const Frame now = todo.back();
    todo.pop_back();
    const Node* node = &nodes_[now.node];
    if (++stacks.steps > stacks.most_steps) {
      throw ResourceError(
          "json_schema: too many readings of the text are open at once to go on in reasonable time. "
          "Make the alternatives of anyOf differ earlier");
    }
    if (node->edges != node[1].edges) {
      const auto same = [&](const Frame& other) { return same_stack(stacks, now, other); };
      if (std::none_of(stacks.tops.begin() + static_cast<std::ptrdiff_t>(tops_begin), stacks.tops.end(), same)) {
        if (stacks.tops.size() - tops_begin >= kMostReadings) {
          throw ResourceError("json_schema: more than " + std::to_string(kMostReadings) +
                              " readings of the text are open at once. Make the alternatives of anyOf differ earlier");
        }
        stacks.tops.push_back(now);
      }
    }
    for (uint32_t i = node->calls; i < node[1].calls; i++) {
      const Call& call = calls_[i];
      const Node* back = &nodes_[call.back];
      const uint32_t height = std::max(back->height, call.start == kNoNode ? 0 : nodes_[call.start].height);
      if (now.depth + height > kDeepest) continue;
      const Frame after{call.back, now.count, now.depth, now.parent};
      if (call.start == kNoNode) {
        todo.push_back(after);
        continue;
      }
      uint32_t parent = now.parent;
      const bool only_leaves = back->final && back->edges == back[1].edges && back->calls == back[1].calls;
      if (!only_leaves) {
        size_t at = below_begin;
        while (at < stacks.below.size() && !(stacks.below[at] == after)) at++;
        if (at == stacks.below.size()) stacks.below.push_back(after);
        parent = static_cast<uint32_t>(at);
      }
      todo.push_back({call.start, 0, now.depth, parent});
    }
    if (node->final) {
      if (now.parent == kRoot) {
        outcome.ended = true;
      } else if (now.parent == kUnknown) {
        outcome.left = true;
      } else {
        todo.push_back(stacks.below[now.parent]);
      }
    }
  }
  return outcome;
}

uint32_t ByteAutomaton::count_class(const Frame& frame, uint32_t longest) const {
  const Node& node = nodes_[frame.node];
  if (!node.counts) return frame.count;
  const uint64_t reach = uint64_t{frame.count} + longest;
  if (frame.count >= node.lowest && node.lowest == node.highest) return node.lowest;
  if (reach < node.lowest) return 0;
  if (frame.count >= node.lowest && reach < node.highest) return node.lowest;
  return frame.count;
}

}  // namespace pare
