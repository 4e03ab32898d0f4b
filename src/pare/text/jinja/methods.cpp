// Methods of texts, mappings and lists: "a b".split(), message.items().

#include <algorithm>
#include <span>

#include "pare/text/jinja/filters.h"
#include "pare/text/jinja/operators.h"
#include "pare/text/jinja/py_text.h"

namespace pare::jinja {
namespace {

using Optional = std::optional<std::string_view>;

// None and an argument that is not given mean the same to Python's str.
Optional text_or_none(const Bound& bound, size_t i) {
  if (bound.is_none(i)) return std::nullopt;
  return bound.text(i, "");
}

template <std::string (*change)(std::string_view)>
Value changed(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "the method", arguments, {});
  context.bytes(2 * self.text().size());
  return context.text(change(self.text()));
}

Value stripped(Context& context, const Value& self, const Arguments& arguments, bool left, bool right) {
  const Bound bound(context, "strip", arguments, {"chars"});
  const Optional chars = text_or_none(bound, 0);
  if (chars) context.step(self.text().size() / 64 * (chars->size() / 64 + 1));
  return context.text(std::string(jinja::strip(self.text(), chars, left, right)));
}
Value strip_both(Context& context, const Value& self, const Arguments& arguments) {
  return stripped(context, self, arguments, true, true);
}
Value strip_left(Context& context, const Value& self, const Arguments& arguments) {
  return stripped(context, self, arguments, true, false);
}
Value strip_right(Context& context, const Value& self, const Arguments& arguments) {
  return stripped(context, self, arguments, false, true);
}

Value texts(Context& context, std::vector<std::string> parts) {
  std::vector<Value> items;
  for (std::string& part : parts) items.push_back(context.text(std::move(part)));
  return context.list(std::move(items));
}

Value split_text(Context& context, const Value& self, const Arguments& arguments, bool from_right) {
  const Bound bound(context, "split", arguments, {"sep", "maxsplit"});
  const Optional separator = text_or_none(bound, 0);
  if (separator && separator->empty()) context.fail("split: the separator is empty");
  // before they are made: each part is a text of its own
  const size_t parts = separator ? count_text(self.text(), *separator) : self.text().size() / 2;
  context.bytes(self.text().size() + 32 * (parts + 1));
  return texts(context, (from_right ? split_from_right : jinja::split)(self.text(), separator, bound.whole(1, -1)));
}
Value split_left(Context& context, const Value& self, const Arguments& arguments) {
  return split_text(context, self, arguments, false);
}
Value split_right(Context& context, const Value& self, const Arguments& arguments) {
  return split_text(context, self, arguments, true);
}

Value split_lines_of(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "splitlines", arguments, {"keepends"});
  context.bytes(33 * self.text().size());
  return texts(context, split_lines(self.text(), bound.flag(0, false)));
}

Value partition_at(Context& context, const Value& self, const Arguments& arguments, bool last) {
  const Bound bound(context, "partition", arguments, {"sep"}, 1);
  const std::string& text = self.text();
  const std::string_view separator = bound.text(0, "");
  if (separator.empty()) context.fail("partition: the separator is empty");
  context.bytes(2 * text.size());
  const size_t at = last ? find_last_text(text, separator) : find_text(text, separator);
  std::vector<Value> parts;
  if (at != std::string::npos) {
    parts = {context.text(text.substr(0, at)), context.text(std::string(separator)),
             context.text(text.substr(at + separator.size()))};
  } else if (last) {
    parts = {context.text(""), context.text(""), self};
  } else {
    parts = {self, context.text(""), context.text("")};
  }
  return context.sequence(Kind::tuple, std::move(parts));
}
Value partition(Context& context, const Value& self, const Arguments& arguments) {
  return partition_at(context, self, arguments, false);
}
Value partition_right(Context& context, const Value& self, const Arguments& arguments) {
  return partition_at(context, self, arguments, true);
}

// The part of a text that start and end, counted in characters, leave.
struct Range {
  size_t begin = 0, end = 0;  // bytes
  bool empty_beyond = false;  // start lies behind the end: not even "" is found there
};
Range range_of(Context& context, const std::string& text, const Bound& bound, size_t i) {
  Range range{0, text.size()};
  if (bound.is_none(i) && bound.is_none(i + 1)) return range;
  context.step(text.size() / 256);
  const auto size = static_cast<int64_t>(code_points(text));
  const auto clipped = [&](size_t which, int64_t otherwise) {
    int64_t at = bound.is_none(which) ? otherwise : bound.whole(which, 0);
    if (at < 0) at = std::max<int64_t>(at + size, 0);
    return at;
  };
  const int64_t begin = clipped(i, 0), end = std::min(clipped(i + 1, size), size);
  range.empty_beyond = begin > end;
  range.begin = byte_of(text, static_cast<size_t>(std::min(begin, size)));
  range.end = std::max(range.begin, byte_of(text, static_cast<size_t>(end)));
  return range;
}

Value begins_or_ends(Context& context, const Value& self, const Arguments& arguments, bool begins) {
  const Bound bound(context, begins ? "startswith" : "endswith", arguments, {"text", "start", "end"}, 1);
  const Range range = range_of(context, self.text(), bound, 1);
  const std::string_view text = std::string_view(self.text()).substr(range.begin, range.end - range.begin);
  const auto holds = [&](const Value& part) {
    if (!part.is(Kind::text)) context.wants(begins ? "startswith" : "endswith", "a text", part);
    if (range.empty_beyond) return false;
    context.step(part.text().size() / 256);
    return begins ? text.starts_with(part.text()) : text.ends_with(part.text());
  };
  if (!bound[0]->is(Kind::tuple)) return Value::boolean(holds(*bound[0]));
  const auto& parts = bound[0]->sequence().items;
  return Value::boolean(std::any_of(parts.begin(), parts.end(), holds));
}
Value begins_with(Context& context, const Value& self, const Arguments& arguments) {
  return begins_or_ends(context, self, arguments, true);
}
Value ends_with(Context& context, const Value& self, const Arguments& arguments) {
  return begins_or_ends(context, self, arguments, false);
}

Value find_part(Context& context, const Value& self, const Arguments& arguments, bool last, bool must) {
  const Bound bound(context, "find", arguments, {"sub", "start", "end"}, 1);
  const Range range = range_of(context, self.text(), bound, 1);
  const std::string_view text = std::string_view(self.text()).substr(range.begin, range.end - range.begin);
  const std::string_view part = bound.text(0, "");
  context.bytes(last ? text.size() + part.size() : 0);
  context.step(text.size() / 256);
  const size_t at = range.empty_beyond ? std::string::npos : last ? find_last_text(text, part) : find_text(text, part);
  if (at == std::string::npos) {
    if (must) context.fail("index: the text is not found");
    return Value::integer(-1);
  }
  return Value::integer(static_cast<int64_t>(code_points(std::string_view(self.text()).substr(0, range.begin + at))));
}
Value find_first(Context& context, const Value& self, const Arguments& arguments) {
  return find_part(context, self, arguments, false, false);
}
Value find_last(Context& context, const Value& self, const Arguments& arguments) {
  return find_part(context, self, arguments, true, false);
}
Value index_first(Context& context, const Value& self, const Arguments& arguments) {
  return find_part(context, self, arguments, false, true);
}
Value index_last(Context& context, const Value& self, const Arguments& arguments) {
  return find_part(context, self, arguments, true, true);
}

Value count_part(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "count", arguments, {"sub", "start", "end"}, 1);
  const Range range = range_of(context, self.text(), bound, 1);
  context.step(self.text().size() / 64);
  if (range.empty_beyond) return Value::integer(0);
  const std::string_view text = std::string_view(self.text()).substr(range.begin, range.end - range.begin);
  return Value::integer(static_cast<int64_t>(count_text(text, bound.text(0, ""))));
}

Value replace_part(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "replace", arguments, {"old", "new", "count"}, 2);
  const std::string_view old = bound.text(0, ""), with = bound.text(1, "");
  context.bytes(self.text().size() + count_text(self.text(), old) * with.size());
  return context.text(replace_text(self.text(), old, with, bound.whole(2, -1)));
}

Value join_texts(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "join", arguments, {"iterable"}, 1);
  if (!is_iterable(*bound[0])) context.wants("join", "a list of texts", *bound[0]);
  std::string result;
  bool more = false;
  for (const Value& part : iterate(context, *bound[0])) {
    if (!part.is(Kind::text)) context.wants("join", "a list of texts", part);
    context.bytes(self.text().size() + part.text().size());
    if (std::exchange(more, true)) result += self.text();
    result += part.text();
  }
  return context.text(std::move(result));
}

Value format(Context& context, const Value& self, const Arguments& arguments) {
  context.bytes(self.text().size());
  return context.text(format_braces(context, self.text(), arguments));
}

Value without_prefix(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "removeprefix", arguments, {"prefix"}, 1);
  const std::string_view prefix = bound.text(0, "");
  return self.text().starts_with(prefix) ? context.text(self.text().substr(prefix.size())) : self;
}
Value without_suffix(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "removesuffix", arguments, {"suffix"}, 1);
  const std::string_view suffix = bound.text(0, "");
  return self.text().ends_with(suffix) ? context.text(self.text().substr(0, self.text().size() - suffix.size())) : self;
}

// ljust, rjust, center
enum class Side { left, right, both };
template <Side side>
Value justified(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "the method", arguments, {"width", "fillchar"}, 1);
  const int64_t size = static_cast<int64_t>(code_points(self.text())), width = bound.whole(0, 0);
  const std::string fill(bound.text(1, " "));
  if (code_points(fill) != 1) context.fail("ljust, rjust, center want one character to fill with");
  if (width <= size) return self;
  const auto missing = static_cast<uint64_t>(width - size);
  context.bytes(missing > (uint64_t{1} << 40) ? UINT64_MAX : missing * fill.size());
  const uint64_t before = side == Side::left ? 0 : side == Side::right ? missing : missing / 2 + (missing & width & 1);
  std::string result;
  for (uint64_t i = 0; i < before; i++) result += fill;
  result += self.text();
  for (uint64_t i = before; i < missing; i++) result += fill;
  return context.text(std::move(result));
}

bool is_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

enum class Class { alpha, decimal, alphanumeric, space };
// isalpha and the like: some characters, all of the class.
template <Class wanted>
Value all_are(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "the method", arguments, {});
  const std::string& text = self.text();
  context.step(text.size() / 64);
  for (size_t pos = 0; pos < text.size();) {
    const char32_t code = next_code_point(text, pos);
    const bool holds = wanted == Class::space     ? is_space(code)
                       : wanted == Class::alpha   ? is_alpha(code)
                       : wanted == Class::decimal ? is_decimal(code)
                                                  : is_alpha(code) || is_decimal(code);
    if (!holds) {
      // digits that are no decimals (superscripts, fractions) count for some of these methods
      if (wanted != Class::space && wanted != Class::alpha && !is_ascii(text)) {
        context.unsupported("isdigit, isnumeric and isalnum of a text beyond ASCII");
      }
      return Value::boolean(false);
    }
  }
  return Value::boolean(!text.empty());
}
Value is_upper_text(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "isupper", arguments, {});
  context.step(self.text().size() / 64);
  return Value::boolean(is_upper(self.text()));
}
Value is_lower_text(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "islower", arguments, {});
  context.step(self.text().size() / 64);
  return Value::boolean(is_lower(self.text()));
}

// --- mappings

Value view(Context& context, const char* name, std::vector<Value> items) {
  return context.sequence(Kind::view, std::move(items), name);
}
Value item_view(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "items", arguments, {});
  std::vector<Value> pairs;
  for (const auto& [key, value] : self.mapping().items) pairs.push_back(context.sequence(Kind::tuple, {key, value}));
  return view(context, "dict_items", std::move(pairs));
}
Value keys(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "keys", arguments, {});
  return view(context, "dict_keys", iterate(context, self));
}
Value values(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "values", arguments, {});
  std::vector<Value> result;
  for (const auto& [key, value] : self.mapping().items) result.push_back(value);
  return view(context, "dict_values", std::move(result));
}
Value get(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "get", arguments, {"key", "default"}, 1);
  if (!is_hashable(*bound[0])) context.wants("get", "a key", *bound[0]);
  const Value* found = find(context, self.mapping(), *bound[0]);
  return found != nullptr ? *found : bound.has(1) ? *bound[1] : Value::none();
}

// --- lists

Value copy(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "copy", arguments, {});
  return self;  // nothing can change either
}
Value count_items(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "count", arguments, {"value"}, 1);
  int64_t count = 0;
  for (const Value& other : self.sequence().items) count += equal(context, other, *bound[0]) ? 1 : 0;
  return Value::integer(count);
}
Value index_of(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "index", arguments, {"value"}, 1);
  const auto& all = self.sequence().items;
  for (size_t i = 0; i < all.size(); i++) {
    if (equal(context, all[i], *bound[0])) return Value::integer(static_cast<int64_t>(i));
  }
  context.fail("index: the list has no such item");
}

// --- loop

Value cycle(Context& context, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) context.fail("loop.cycle wants values");
  return arguments.positional[self.loop().index0 % arguments.positional.size()];
}

constexpr NamedMethod kTextMethods[] = {{"capitalize", changed<capitalize>},
                                        {"center", justified<Side::both>},
                                        {"count", count_part},
                                        {"endswith", ends_with},
                                        {"find", find_first},
                                        {"format", format},
                                        {"index", index_first},
                                        {"isalnum", all_are<Class::alphanumeric>},
                                        {"isalpha", all_are<Class::alpha>},
                                        {"isdecimal", all_are<Class::decimal>},
                                        {"isdigit", all_are<Class::decimal>},
                                        {"islower", is_lower_text},
                                        {"isnumeric", all_are<Class::decimal>},
                                        {"isspace", all_are<Class::space>},
                                        {"isupper", is_upper_text},
                                        {"join", join_texts},
                                        {"ljust", justified<Side::left>},
                                        {"lower", changed<lower>},
                                        {"lstrip", strip_left},
                                        {"partition", partition},
                                        {"removeprefix", without_prefix},
                                        {"removesuffix", without_suffix},
                                        {"replace", replace_part},
                                        {"rfind", find_last},
                                        {"rindex", index_last},
                                        {"rjust", justified<Side::right>},
                                        {"rpartition", partition_right},
                                        {"rsplit", split_right},
                                        {"rstrip", strip_right},
                                        {"split", split_left},
                                        {"splitlines", split_lines_of},
                                        {"startswith", begins_with},
                                        {"strip", strip_both},
                                        {"title", changed<title>},
                                        {"upper", changed<upper>}};
constexpr std::string_view kOtherTextMethods[] = {"casefold",  "encode",       "expandtabs",  "format_map",
                                                  "isascii",   "isidentifier", "isprintable", "istitle",
                                                  "maketrans", "swapcase",     "translate",   "zfill"};
constexpr NamedMethod kMappingMethods[] = {
    {"copy", copy}, {"get", get}, {"items", item_view}, {"keys", keys}, {"values", values}};
constexpr std::string_view kOtherMappingMethods[] = {"fromkeys"};
constexpr std::string_view kMappingChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr NamedMethod kListMethods[] = {{"copy", copy}, {"count", count_items}, {"index", index_of}};
constexpr NamedMethod kTupleMethods[] = {{"count", count_items}, {"index", index_of}};
constexpr std::string_view kListChanges[] = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"};
constexpr NamedMethod kLoopMethods[] = {{"cycle", cycle}};
constexpr std::string_view kOtherLoopMethods[] = {"changed"};

MethodLookup look_up(std::string_view name, std::span<const NamedMethod> known, std::span<const std::string_view> other,
                     std::span<const std::string_view> changes) {
  for (const auto& [method_name, method] : known) {
    if (method_name == name) return {.method = method};
  }
  if (std::find(changes.begin(), changes.end(), name) != changes.end()) return {.forbidden = true};
  return {.unknown = std::find(other.begin(), other.end(), name) != other.end()};
}

}  // namespace

MethodLookup find_method(const Value& self, std::string_view name) {
  switch (self.kind()) {
    case Kind::text:
      return look_up(name, kTextMethods, kOtherTextMethods, {});
    case Kind::mapping:
      return look_up(name, kMappingMethods, kOtherMappingMethods, kMappingChanges);
    case Kind::list:
      return look_up(name, kListMethods, {}, kListChanges);
    case Kind::tuple:
    case Kind::range:
      return look_up(name, kTupleMethods, {}, {});
    case Kind::loop:
      return look_up(name, kLoopMethods, kOtherLoopMethods, {});
    default:
      return {};
  }
}

}  // namespace pare::jinja
