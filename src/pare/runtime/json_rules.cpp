#include "pare/runtime/json_rules.h"

#include <algorithm>

#include "pare/base/error.h"

namespace pare {
namespace {

constexpr uint32_t kWholeDigits = 16, kFractionDigits = 16, kExponentDigits = 2, kIndent = 20;

uint8_t code(char byte) {
  return static_cast<uint8_t>(byte);
}

}  // namespace

NodeId JsonRules::final_node() {
  if (final_ == kNoNode) {
    final_ = automaton_.add_node();
    automaton_.set_final(final_);
  }
  return final_;
}

NodeId JsonRules::add_byte(NodeId from, char byte, bool opens) {
  const NodeId to = automaton_.add_node();
  automaton_.add_edge(from, {.first = code(byte), .last = code(byte), .opens = opens, .target = to});
  return to;
}

NodeId JsonRules::add_text(NodeId from, std::string_view text) {
  for (char byte : text) from = add_byte(from, byte);
  return from;
}

NodeId JsonRules::add_space(NodeId from, Space space) {
  if (space == Space::lines) {
    if (line_space_ == kNoNode) {
      line_space_ = automaton_.add_node();
      automaton_.set_final(line_space_);
      automaton_.set_final(add_byte(line_space_, ' '));
      const NodeId line = add_byte(line_space_, '\n');
      automaton_.set_final(line);
      for (char blank : {' ', '\t'}) {
        automaton_.add_edge(line, {.first = code(blank),
                                   .last = code(blank),
                                   .guard = Guard::below,
                                   .update = Update::count,
                                   .bound = kIndent,
                                   .value = kIndent,
                                   .target = line});
      }
    }
    const NodeId after = automaton_.add_node();
    automaton_.add_call(from, line_space_, after);
    return after;
  }
  const NodeId after = add_byte(from, ' ');
  automaton_.add_jump(from, after);
  return after;
}

// One character of a string, from `from` back to `from`. `begins` holds the guard and the update of its first byte.
void JsonRules::add_characters(NodeId from, Edge begins) {
  const auto add = [&](NodeId node, int first, int last, NodeId target) {
    Edge edge = node == from ? begins : Edge{};
    edge.first = static_cast<uint8_t>(first);
    edge.last = static_cast<uint8_t>(last);
    edge.target = target;
    automaton_.add_edge(node, edge);
  };
  const auto behind = [&](NodeId node, int first, int last) {
    const NodeId target = automaton_.add_node();
    add(node, first, last, target);
    return target;
  };
  add(from, 0x20, '"' - 1, from);
  add(from, '"' + 1, '\\' - 1, from);
  add(from, '\\' + 1, 0x7F, from);

  // UTF-8 as RFC 3629 has it: nothing overlong, no surrogates, nothing above U+10FFFF
  const NodeId last = behind(from, 0xC2, 0xDF);
  add(last, 0x80, 0xBF, from);
  const NodeId two = behind(from, 0xE1, 0xEC);
  add(two, 0x80, 0xBF, last);
  add(from, 0xEE, 0xEF, two);
  add(behind(from, 0xE0, 0xE0), 0xA0, 0xBF, last);
  add(behind(from, 0xED, 0xED), 0x80, 0x9F, last);
  add(behind(from, 0xF0, 0xF0), 0x90, 0xBF, two);
  add(behind(from, 0xF1, 0xF3), 0x80, 0xBF, two);
  add(behind(from, 0xF4, 0xF4), 0x80, 0x8F, two);

  const NodeId escape = behind(from, '\\', '\\');
  for (char c : {'"', '\\', '/', 'b', 'f', 'n', 'r', 't'}) add(escape, c, c, from);
  const auto hex = [&](NodeId node, NodeId target) {
    add(node, '0', '9', target);
    add(node, 'A', 'F', target);
    add(node, 'a', 'f', target);
  };
  const auto two_hex = [&](NodeId target) {
    const NodeId first = automaton_.add_node(), second = automaton_.add_node();
    hex(first, second);
    hex(second, target);
    return first;
  };
  const NodeId unicode = behind(escape, 'u', 'u');
  const NodeId low_byte = two_hex(from), third = automaton_.add_node();
  hex(third, low_byte);
  add(unicode, '0', '9', third);
  for (char base : {'A', 'a'}) {
    add(unicode, base, base + 2, third);
    add(unicode, base + 4, base + 5, third);
  }
  const NodeId d = behind(unicode, 'D', 'D'), pair = automaton_.add_node();
  add(unicode, 'd', 'd', d);
  add(d, '0', '7', low_byte);
  const NodeId high = two_hex(pair);
  add(d, '8', '9', high);
  add(d, 'A', 'B', high);
  add(d, 'a', 'b', high);
  const NodeId low = behind(behind(pair, '\\', '\\'), 'u', 'u'), low_d = behind(low, 'D', 'D');
  add(low, 'd', 'd', low_d);
  add(low_d, 'C', 'F', low_byte);
  add(low_d, 'c', 'f', low_byte);
}

NodeId JsonRules::string(uint32_t shortest, uint32_t longest) {
  NodeId& start = strings_.try_emplace({shortest, longest}, kNoNode).first->second;
  if (start != kNoNode) return start;
  start = automaton_.add_node();
  const NodeId inside = add_byte(start, '"');
  const bool limited = longest != kNoLimit;
  Edge begins;
  if (limited) begins = {.guard = Guard::below, .bound = longest};
  if (limited || shortest > 0) {
    begins.update = Update::count;
    begins.value = limited ? longest : shortest;
  }
  add_characters(inside, begins);
  automaton_.add_edge(inside, {.first = '"',
                               .last = '"',
                               .guard = shortest > 0 ? Guard::at_least : Guard::none,
                               .bound = shortest,
                               .target = final_node()});
  if (shortest == 0 && !limited) free_characters_ = inside;
  return start;
}

// One to `most` digits, the first from `lowest`. Goes on at `target`, without a byte, after any of them.
NodeId JsonRules::digits(NodeId from, uint32_t most, NodeId target, char lowest) {
  const NodeId more = automaton_.add_node();
  automaton_.add_edge(from, {.first = code(lowest), .last = '9', .update = Update::set, .value = 1, .target = more});
  automaton_.add_edge(more, {.first = '0',
                             .last = '9',
                             .guard = Guard::below,
                             .update = Update::count,
                             .bound = most,
                             .value = most,
                             .target = more});
  automaton_.add_jump(more, target);
  return more;
}

NodeId JsonRules::number() {
  if (number_ != kNoNode) return number_;
  number_ = automaton_.add_node();
  const NodeId whole = automaton_.add_node(), after_whole = automaton_.add_node(),
               after_fraction = automaton_.add_node();
  automaton_.add_jump(number_, whole);
  automaton_.add_edge(number_, {.first = '-', .last = '-', .target = whole});
  automaton_.add_edge(whole, {.first = '0', .last = '0', .target = after_whole});
  digits(whole, kWholeDigits, after_whole, '1');
  digits(add_byte(after_whole, '.'), kFractionDigits, after_fraction);
  automaton_.add_jump(after_whole, after_fraction);
  automaton_.set_final(after_fraction);
  const NodeId exponent = add_byte(after_fraction, 'e'), unsigned_exponent = automaton_.add_node();
  automaton_.add_edge(after_fraction, {.first = 'E', .last = 'E', .target = exponent});
  for (char sign : {'+', '-'}) {
    automaton_.add_edge(exponent, {.first = code(sign), .last = code(sign), .target = unsigned_exponent});
  }
  automaton_.add_jump(exponent, unsigned_exponent);
  digits(unsigned_exponent, kExponentDigits, final_node());
  return number_;
}

// The digits of a whole number in [lowest, highest], without leading zeros.
//
// A prefix p with k digits stands for the intervals [p 10^j, (p+1) 10^j - 1], j = 0 .. 18-k more digits. Prefixes of
// one length whose intervals all lie within the bounds, or all outside, for the same j are one state; only those cut by
// a bound, at most two for each length, need a state of their own.
NodeId JsonRules::magnitude(uint64_t lowest, uint64_t highest, NodeId after) {
  constexpr int kDigits = 18;
  std::map<std::string, NodeId> states;
  const auto state_of = [&](const auto& self, int length, uint64_t prefix) -> NodeId {
    std::string key(1, static_cast<char>(length));
    bool reachable = false, cut = false;
    uint64_t begin = prefix, count = 1;
    for (int more = 0; length > 0 && length + more <= kDigits && (prefix > 0 || more == 0); more++) {
      const uint64_t end = begin + count - 1;
      const bool outside = end < lowest || begin > highest, within = begin >= lowest && end <= highest;
      key += outside ? 'o' : within ? 'w' : 'c';
      reachable |= !outside;
      cut |= !outside && !within;
      begin *= 10;
      count *= 10;
    }
    if (length > 0 && !reachable) return kNoNode;
    if (cut) key += std::to_string(prefix);
    const auto [found, fresh] = states.try_emplace(key, kNoNode);
    if (!fresh) return found->second;
    const NodeId node = found->second = automaton_.add_node();
    if (length > 0 && prefix >= lowest && prefix <= highest) automaton_.add_jump(node, after);
    if (length == kDigits || (length > 0 && prefix == 0)) return node;
    for (uint64_t digit = 0; digit < 10; digit++) {
      const NodeId next = self(self, length + 1, prefix * 10 + digit);
      const auto byte = static_cast<uint8_t>('0' + digit);
      if (next != kNoNode) automaton_.add_edge(node, {.first = byte, .last = byte, .target = next});
    }
    return node;
  };
  return state_of(state_of, 0, 0);
}

NodeId JsonRules::integer(const NumberRange& range) {
  const int64_t lowest = range.lowest + range.lowest_excluded, highest = range.highest - range.highest_excluded;
  const NodeId start = automaton_.add_node(), end = final_node();
  if (lowest > highest) return start;  // nothing
  if (highest >= 0) {
    automaton_.add_jump(
        start, magnitude(static_cast<uint64_t>(std::max(lowest, int64_t{0})), static_cast<uint64_t>(highest), end));
  }
  if (lowest < 0) {
    automaton_.add_jump(add_byte(start, '-'), magnitude(static_cast<uint64_t>(std::max(-highest, int64_t{1})),
                                                        static_cast<uint64_t>(-lowest), end));
  }
  return start;
}

// A decimal number without sign between whole bounds:
//   whole part strictly between    any fraction
//   whole part = highest           a fraction of zeros
//   whole part = lowest excluded   a fraction that is not all zeros
NodeId JsonRules::decimal(uint64_t lowest, bool lowest_excluded, uint64_t highest, bool highest_excluded) {
  const NodeId start = automaton_.add_node();
  const uint64_t first = lowest + lowest_excluded;
  if (first < highest) {
    const NodeId after = automaton_.add_node();
    automaton_.set_final(after);
    digits(add_byte(after, '.'), kFractionDigits, final_node());
    automaton_.add_jump(start, magnitude(first, highest - 1, after));
  }
  if (first <= highest && !highest_excluded) {
    const NodeId after = automaton_.add_node(), zeros = automaton_.add_node();
    automaton_.set_final(after);
    automaton_.set_final(zeros);
    automaton_.add_edge(add_byte(after, '.'), {.first = '0', .last = '0', .target = zeros});
    automaton_.add_edge(zeros, {.first = '0',
                                .last = '0',
                                .guard = Guard::below,
                                .update = Update::count,
                                .bound = kFractionDigits - 1,
                                .value = kFractionDigits - 1,
                                .target = zeros});
    automaton_.add_jump(start, magnitude(highest, highest, after));
  }
  if (lowest_excluded && lowest < highest) {
    const NodeId after = automaton_.add_node(), zeros = add_byte(after, '.'), more = automaton_.add_node();
    automaton_.set_final(more);
    const uint32_t most = kFractionDigits - 1;
    automaton_.add_edge(zeros, {.first = '0',
                                .last = '0',
                                .guard = Guard::below,
                                .update = Update::count,
                                .bound = most,
                                .value = most,
                                .target = zeros});
    automaton_.add_edge(zeros, {.first = '1', .last = '9', .target = more});
    automaton_.add_edge(more, {.first = '0',
                               .last = '9',
                               .guard = Guard::below,
                               .update = Update::count,
                               .bound = most,
                               .value = most,
                               .target = more});
    automaton_.add_jump(start, magnitude(lowest, lowest, after));
  }
  return start;
}

NodeId JsonRules::number(const NumberRange& range) {
  const NodeId start = automaton_.add_node();
  const auto size = [](int64_t value) { return static_cast<uint64_t>(value < 0 ? -value : value); };
  if (range.highest > 0 || (range.highest == 0 && !range.highest_excluded)) {
    const bool from_zero = range.lowest < 0;
    automaton_.add_jump(start, decimal(from_zero ? 0 : size(range.lowest), !from_zero && range.lowest_excluded,
                                       size(range.highest), range.highest_excluded));
  }
  if (range.lowest < 0) {
    const bool to_zero = range.highest >= 0;  // which is not written with a minus
    automaton_.add_jump(add_byte(start, '-'),
                        decimal(to_zero ? 0 : size(range.highest), to_zero || range.highest_excluded,
                                size(range.lowest), range.lowest_excluded));
  }
  return start;
}

// A trie, so that it is one reading however many there are.
NodeId JsonRules::literals(const std::vector<std::string>& texts) {
  std::vector<std::string> sorted = texts;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  NodeId& start = literals_.try_emplace(sorted, kNoNode).first->second;
  if (start != kNoNode) return start;
  start = automaton_.add_node();
  std::vector<NodeId> path{start};  // of the text before: nodes after 0, 1, ... bytes
  std::string_view before;
  for (const std::string& text : sorted) {
    const auto common = std::mismatch(before.begin(), before.end(), text.begin(), text.end()).first - before.begin();
    path.resize(static_cast<size_t>(common) + 1);
    for (size_t i = static_cast<size_t>(common); i < text.size(); i++) path.push_back(add_byte(path.back(), text[i]));
    automaton_.set_final(path.back());
    before = text;
  }
  return start;
}

NodeId JsonRules::one_of(const std::vector<NodeId>& rules) {
  if (rules.size() == 1) return rules[0];
  const NodeId start = automaton_.add_node();
  for (NodeId rule : rules) automaton_.add_jump(start, rule);
  return start;
}

NodeId JsonRules::any(Space space) {
  return any_rules(space)[0];
}

std::array<NodeId, 3> JsonRules::any_rules(Space space) {
  const auto known = any_.find(space);
  if (known != any_.end()) return known->second;
  const NodeId value = automaton_.add_node(), object = automaton_.add_node(), array = automaton_.add_node();
  const NodeId text = string(), end = final_node();
  for (NodeId rule : {text, number(), literals({"true", "false", "null"}), object, array}) {
    automaton_.add_jump(value, rule);
  }
  const bool lines = space == Space::lines;
  const auto add_comma = [&](NodeId after_value, char close) {  // gives where the next one begins
    const NodeId next = lines ? add_space(after_value, space) : after_value;
    automaton_.add_edge(next, {.first = code(close), .last = code(close), .target = end});
    return add_space(add_byte(next, ','), space);
  };
  const auto open = [&](NodeId from, char bracket, char close) {
    const NodeId opened = add_byte(from, bracket, true);
    const NodeId first = lines ? add_space(opened, space) : opened;
    automaton_.add_edge(first, {.first = code(close), .last = code(close), .target = end});
    return first;
  };

  const NodeId first_key = open(object, '{', '}'), after_key = automaton_.add_node(),
               after_value = automaton_.add_node();
  automaton_.add_call(first_key, text, after_key);
  automaton_.add_call(add_space(add_byte(after_key, ':'), Space::one), value, after_value);
  automaton_.add_call(add_comma(after_value, '}'), text, after_key);

  const NodeId first_item = open(array, '[', ']'), after_item = automaton_.add_node();
  automaton_.add_call(first_item, value, after_item);
  automaton_.add_call(add_comma(after_item, ']'), value, after_item);
  return any_[space] = {value, object, array};
}

NodeId JsonRules::array(const std::vector<NodeId>& first, NodeId rest, uint32_t least, uint32_t most) {
  const NodeId start = automaton_.add_node(), end = final_node();
  const size_t fixed = std::min<size_t>(first.size(), most);
  // at: behind `[` or an item; `item`: where the next one would begin
  NodeId at = add_byte(start, '[', true), item = at;
  for (size_t i = 0; i <= fixed; i++) {
    const bool more = i < fixed || (rest != kNoNode && fixed == first.size() && most > fixed);
    if (i >= least) automaton_.add_edge(at, {.first = ']', .last = ']', .target = end});
    if (!more) return start;
    if (i > 0) item = add_space(add_byte(at, ','), Space::one);
    if (i == fixed) break;
    at = automaton_.add_node();
    automaton_.add_call(item, first[i], at);
  }
  // Of the rest, `count` are behind us. The first is written outside of the loop: it sets the count to 1 by its bracket
  const auto fixed_count = static_cast<uint32_t>(fixed);
  const uint32_t left = least > fixed_count ? least - fixed_count : 0;
  const uint32_t room = most == kNoLimit ? kNoLimit : most - fixed_count;
  const NodeId after = automaton_.add_node(), one = automaton_.add_node();
  automaton_.add_call(item, rest, one);
  const uint32_t stop = room == kNoLimit ? std::max(left, 1u) : room;
  const auto add_end = [&](NodeId node, bool open) {
    if (open) automaton_.add_edge(node, {.first = ']', .last = ']', .target = end});
  };
  // `one`: exactly one item of the rest; from the next comma on the count says how many
  add_end(one, left <= 1);
  if (room > 1) {
    const NodeId again = automaton_.add_node();
    automaton_.add_edge(one, {.first = ',', .last = ',', .update = Update::set, .value = 2, .target = again});
    automaton_.add_call(add_space(again, Space::one), rest, after);
    automaton_.add_edge(
        after,
        {.first = ']', .last = ']', .guard = left > 2 ? Guard::at_least : Guard::none, .bound = left, .target = end});
    Edge comma{.first = ',', .last = ',', .update = Update::count, .value = std::max(stop, 2u), .target = again};
    if (room != kNoLimit) {
      comma.guard = Guard::below;
      comma.bound = room;
    }
    automaton_.add_edge(after, comma);
  }
  return start;
}

}  // namespace pare
