// Filters of lists and mappings.

#include <algorithm>

#include "pare/text/jinja/filters.h"
#include "pare/text/jinja/operators.h"
#include "pare/text/jinja/py_text.h"

namespace pare::jinja {
namespace {

std::vector<Value> walked(Context& context, const char* name, const Value& value) {
  if (!is_iterable(value)) context.wants(name, "a list", value);
  return iterate(context, value);
}

// "function.name" or 0: members of members.
class Path {
 public:
  Path(Context& context, const Value& path) {
    if (path.is_whole()) {
      steps_.push_back(path);
      return;
    }
    if (!path.is(Kind::text)) context.wants("attribute", "a name", path);
    for (const std::string& part : split(path.text(), ".", -1)) {
      const bool digits =
          !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
      steps_.push_back(digits ? Value::integer(std::stoll(part)) : context.text(part));
    }
  }

  Value of(Context& context, Value value, const Value* otherwise = nullptr) const {
    for (const Value& step : steps_) {
      value = item(context, value, step);
      if (otherwise != nullptr && value.is(Kind::undefined)) value = *otherwise;
    }
    return value;
  }

 private:
  std::vector<Value> steps_;
};

// What a list is ordered or told apart by: a member where one is named; texts in lower case unless case matters.
class Key {
 public:
  Key(Context& context, const Value* attribute, bool case_sensitive) : case_sensitive_(case_sensitive) {
    if (attribute != nullptr && !attribute->is(Kind::none)) path_.emplace(context, *attribute);
  }
  Value of(Context& context, const Value& value) const {
    const Value key = path_ ? path_->of(context, value) : value;
    return !case_sensitive_ && key.is(Kind::text) ? context.text(lower(key.text())) : key;
  }

 private:
  std::optional<Path> path_;
  bool case_sensitive_;
};

std::vector<Value> sorted(Context& context, std::vector<Value> items, const Key& key, bool reverse) {
  std::vector<std::pair<Value, Value>> keyed;
  context.bytes(2 * items.size() * sizeof(Value));
  for (const Value& value : items) keyed.emplace_back(key.of(context, value), value);
  // an order that NaN or lists with NaN break could send a library's sort out of bounds; merging cannot
  std::vector<std::pair<Value, Value>> merged(keyed.size());
  const auto before = [&](const auto& a, const auto& b) {
    return reverse ? less(context, b.first, a.first) : less(context, a.first, b.first);
  };
  for (size_t width = 1; width < keyed.size(); width *= 2) {
    for (size_t begin = 0; begin < keyed.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, keyed.size()), end = std::min(begin + 2 * width, keyed.size());
      size_t left = begin, right = middle;
      for (size_t to = begin; to < end; to++) {
        const bool take_right = left == middle || (right < end && before(keyed[right], keyed[left]));
        merged[to] = keyed[take_right ? right++ : left++];
      }
    }
    keyed.swap(merged);
  }
  for (size_t i = 0; i < items.size(); i++) items[i] = keyed[i].second;
  return items;
}

Value sort(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "sort", arguments, {"reverse", "case_sensitive", "attribute"});
  if (bound.has(2) && bound[2]->is(Kind::text) && bound[2]->text().find(',') != std::string::npos) {
    context.unsupported("sort by several members");
  }
  const Key key(context, bound[2], bound.flag(1, false));
  return context.list(sorted(context, walked(context, "sort", self), key, bound.flag(0, false)));
}

Value dictsort(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "dictsort", arguments, {"case_sensitive", "by", "reverse"});
  if (!self.is(Kind::mapping)) context.wants("dictsort", "a mapping", self);
  const std::string_view by = bound.text(1, "key");
  if (by != "key" && by != "value") context.fail("dictsort: by is 'key' or 'value'");
  std::vector<Value> pairs;
  for (const auto& [key, value] : self.mapping().items) pairs.push_back(context.sequence(Kind::tuple, {key, value}));
  const Value position = Value::integer(by == "key" ? 0 : 1);
  const Key key(context, &position, bound.flag(0, false));
  return context.list(sorted(context, std::move(pairs), key, bound.flag(2, false)));
}

Value unique(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "unique", arguments, {"case_sensitive", "attribute"});
  const Key key(context, bound[1], bound.flag(0, false));
  std::vector<Value> kept, keys;
  for (const Value& value : walked(context, "unique", self)) {
    Value mine = key.of(context, value);
    if (!is_hashable(mine)) context.wants("unique", "texts and numbers", mine);
    const bool seen = std::any_of(keys.begin(), keys.end(), [&](const Value& k) { return equal(context, k, mine); });
    if (seen) continue;
    keys.push_back(std::move(mine));
    kept.push_back(value);
  }
  return context.sequence(Kind::generator, std::move(kept));
}

Value extreme(Context& context, const Value& self, const Arguments& arguments, bool largest) {
  const Bound bound(context, largest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const Key key(context, bound[1], bound.flag(0, false));
  const std::vector<Value> items = walked(context, largest ? "max" : "min", self);
  if (items.empty()) return Value::undefined("an empty list has no smallest or largest item");
  size_t best = 0;
  Value best_key = key.of(context, items[0]);
  for (size_t i = 1; i < items.size(); i++) {
    Value other = key.of(context, items[i]);
    if (!(largest ? less(context, best_key, other) : less(context, other, best_key))) continue;
    best = i;
    best_key = std::move(other);
  }
  return items[best];
}

Value smallest(Context& context, const Value& self, const Arguments& arguments) {
  return extreme(context, self, arguments, false);
}
Value largest(Context& context, const Value& self, const Arguments& arguments) {
  return extreme(context, self, arguments, true);
}

Value first(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "first", arguments, {});
  if (self.is_sequence() && !self.is(Kind::generator)) {
    if (!self.sequence().items.empty()) return self.sequence().items.front();
  } else {
    const std::vector<Value> items = walked(context, "first", self);
    if (!items.empty()) return items.front();
  }
  return Value::undefined("an empty list has no first item");
}

Value last(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "last", arguments, {});
  if (self.is(Kind::generator)) context.wants("last", "a list (put | list before it)", self);
  const std::vector<Value> items = walked(context, "last", self);
  return items.empty() ? Value::undefined("an empty list has no last item") : items.back();
}

Value list(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "list", arguments, {});
  return context.list(walked(context, "list", self));
}

Value items(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "items", arguments, {});
  std::vector<Value> pairs;
  if (!self.is(Kind::undefined)) {
    if (!self.is(Kind::mapping)) context.wants("items", "a mapping", self);
    for (const auto& [key, value] : self.mapping().items) pairs.push_back(context.sequence(Kind::tuple, {key, value}));
  }
  return context.sequence(Kind::generator, std::move(pairs));
}

Value join(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "join", arguments, {"d", "attribute"});
  const std::string between = bound.has(0) ? to_text(context, *bound[0]) : "";
  std::optional<Path> path;
  if (!bound.is_none(1)) path.emplace(context, *bound[1]);
  std::string result;
  bool more = false;
  for (const Value& value : walked(context, "join", self)) {
    const std::string part = to_text(context, path ? path->of(context, value) : value);
    context.bytes(part.size() + between.size());
    if (std::exchange(more, true)) result += between;
    result += part;
  }
  return context.text(std::move(result));
}

Value reverse(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "reverse", arguments, {});
  if (self.is(Kind::generator)) context.unsupported("reverse of what another filter gives: put | list before it");
  std::vector<Value> items = walked(context, "reverse", self);
  std::reverse(items.begin(), items.end());
  if (!self.is(Kind::text)) return context.sequence(Kind::generator, std::move(items));
  std::string result;
  for (const Value& character : items) result += character.text();
  return context.text(std::move(result));
}

Value sum(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "sum", arguments, {"attribute", "start"});
  std::optional<Path> path;
  if (!bound.is_none(0)) path.emplace(context, *bound[0]);
  Value total = bound.has(1) ? *bound[1] : Value::integer(0);
  if (total.is(Kind::text)) context.fail("sum does not add texts: use join");
  for (const Value& value : walked(context, "sum", self)) {
    total = arithmetic(context, Operator::add, total, path ? path->of(context, value) : value);
  }
  return total;
}

// The arguments from the one of this number on.
Arguments rest_of(const Arguments& arguments, size_t from) {
  Arguments rest;
  for (size_t i = from; i < arguments.positional.size(); i++) rest.positional.push_back(arguments.positional[i]);
  rest.named = arguments.named;
  return rest;
}

std::string_view name_of(Context& context, const char* what, const Arguments& arguments, size_t i) {
  if (i >= arguments.positional.size() || !arguments.positional[i].is(Kind::text)) {
    context.fail(std::string(what) + " wants a name");
  }
  return arguments.positional[i].text();
}

Value map(Context& context, const Value& self, const Arguments& arguments) {
  std::vector<Value> result;
  if (arguments.positional.empty()) {
    const Bound bound(context, "map", arguments, {"attribute", "default"}, 1);
    const Path path(context, *bound[0]);
    if (!truth(context, self)) return context.sequence(Kind::generator, {});  // none too, as in select
    for (const Value& value : walked(context, "map", self)) result.push_back(path.of(context, value, bound[1]));
    return context.sequence(Kind::generator, std::move(result));
  }
  const std::string_view name = name_of(context, "map", arguments, 0);
  const Method filter = find_filter(name);
  if (filter == nullptr) context.unsupported("unknown filter '" + std::string(name) + "'");
  const Arguments rest = rest_of(arguments, 1);
  const Context::Deeper deeper(context);
  if (!truth(context, self)) return context.sequence(Kind::generator, {});
  for (const Value& value : walked(context, "map", self)) {
    result.push_back(filtered(context, name, filter, value, rest));
  }
  return context.sequence(Kind::generator, std::move(result));
}

// select, reject, selectattr, rejectattr: the items that pass a test, or whose member does; no test: those that are
// true.
Value chosen(Context& context, const char* name, const Value& self, const Arguments& arguments, bool by_member,
             bool keep) {
  const size_t at = by_member ? 1 : 0;
  std::optional<Path> path;
  if (by_member) {
    if (arguments.positional.empty()) context.fail(std::string(name) + " wants the name of a member");
    path.emplace(context, arguments.positional[0]);
  }
  Method test = nullptr;
  if (arguments.positional.size() > at) {
    test = find_test(name_of(context, name, arguments, at));
    if (test == nullptr) context.unsupported("unknown test '" + arguments.positional[at].text() + "'");
  }
  const Arguments rest = rest_of(arguments, at + 1);
  std::vector<Value> result;
  if (!truth(context, self)) return context.sequence(Kind::generator, {});  // Jinja does not look at what is false
  for (const Value& value : walked(context, name, self)) {
    const Value tested = path ? path->of(context, value) : value;
    if (truth(context, test != nullptr ? test(context, tested, rest) : tested) == keep) result.push_back(value);
  }
  return context.sequence(Kind::generator, std::move(result));
}

Value select(Context& context, const Value& self, const Arguments& arguments) {
  return chosen(context, "select", self, arguments, false, true);
}
Value reject(Context& context, const Value& self, const Arguments& arguments) {
  return chosen(context, "reject", self, arguments, false, false);
}
Value selectattr(Context& context, const Value& self, const Arguments& arguments) {
  return chosen(context, "selectattr", self, arguments, true, true);
}
Value rejectattr(Context& context, const Value& self, const Arguments& arguments) {
  return chosen(context, "rejectattr", self, arguments, true, false);
}

constexpr NamedMethod kFilters[] = {{"dictsort", dictsort},
                                    {"first", first},
                                    {"items", items},
                                    {"join", join},
                                    {"last", last},
                                    {"list", list},
                                    {"map", map},
                                    {"max", largest},
                                    {"min", smallest},
                                    {"reject", reject},
                                    {"rejectattr", rejectattr},
                                    {"reverse", reverse},
                                    {"select", select},
                                    {"selectattr", selectattr},
                                    {"sort", sort},
                                    {"sum", sum},
                                    {"unique", unique}};

}  // namespace

std::span<const NamedMethod> list_filters() {
  return kFilters;
}

}  // namespace pare::jinja
