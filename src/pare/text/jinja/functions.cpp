// The functions that transformers gives to a template, beside Jinja's own.

#include <ctime>

#include "pare/text/jinja/filters.h"
#include "pare/text/jinja/operators.h"

namespace pare::jinja {
namespace {

constexpr int64_t kLongestRange = 100'000;  // the sandbox's own bound

Value range(Context& context, const Arguments& arguments) {
  const Bound bound(context, "range", arguments, {"start", "stop", "step"}, 1);
  const int64_t start = bound.has(1) ? bound.whole(0, 0) : 0, step = bound.whole(2, 1);
  const int64_t stop = bound.has(1) ? bound.whole(1, 0) : bound.whole(0, 0);
  if (step == 0) context.fail("range: the step is zero");
  std::vector<Value> items;
  for (int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (static_cast<int64_t>(items.size()) >= kLongestRange) {
      context.fail("a range of more than " + std::to_string(kLongestRange) + " numbers");
    }
    items.push_back(Value::integer(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  std::string shown = "range(" + std::to_string(start) + ", " + std::to_string(stop);
  if (step != 1) shown += ", " + std::to_string(step);
  return context.sequence(Kind::range, std::move(items), shown + ")");
}

// From a mapping or pairs, then names.
Mapping mapping_of(Context& context, const char* name, const Arguments& arguments) {
  Mapping result;
  const auto put = [&](const Value& key, const Value& value) {
    if (!is_hashable(key)) context.wants(name, "keys that are texts or numbers", key);
    if (const Value* known = find(context, result, key)) {
      *const_cast<Value*>(known) = value;
    } else {
      result.items.emplace_back(key, value);
    }
  };
  if (arguments.positional.size() > 1) context.fail(std::string(name) + " takes at most 1 argument without a name");
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional[0];
    if (from.is(Kind::mapping)) {
      result = from.mapping();
    } else {
      if (!is_iterable(from)) context.wants(name, "a mapping or pairs", from);
      for (const Value& pair : iterate(context, from)) {
        if (!is_iterable(pair)) context.wants(name, "pairs", pair);
        const std::vector<Value> both = iterate(context, pair);
        if (both.size() != 2) context.fail(std::string(name) + " wants pairs");
        put(both[0], both[1]);
      }
    }
  }
  for (const auto& [key, value] : arguments.named) put(context.text(key), value);
  return result;
}

Value dict(Context& context, const Arguments& arguments) {
  return context.mapping(mapping_of(context, "dict", arguments));
}

Value make_namespace(Context& context, const Arguments& arguments) {
  Namespace names;
  for (auto& [key, value] : mapping_of(context, "namespace", arguments).items) {
    if (!key.is(Kind::text)) context.wants("namespace", "names", key);
    names[key.text()] = value;
  }
  return context.name_space(std::move(names));
}

Value raise_exception(Context& context, const Arguments& arguments) {
  const Bound bound(context, "raise_exception", arguments, {"message"}, 1);
  context.refuse(to_text(context, *bound[0]));
}

// The time of the run, in this machine's zone; as Python does, without a name for the zone.
Value strftime_now(Context& context, const Arguments& arguments) {
  const Bound bound(context, "strftime_now", arguments, {"format"}, 1);
  std::tm now{};
  localtime_r(&context.now, &now);
  const std::string_view format = bound.text(0, "");
  std::string result;
  context.bytes(format.size() * 16);
  for (size_t i = 0; i < format.size(); i++) {
    if (format[i] != '%') {
      result += format[i];
      continue;
    }
    std::string one = "%";
    if (i + 1 < format.size() && format[i + 1] == '-') one += format[++i];  // %-d: no leading zero
    const char letter = i + 1 < format.size() ? format[++i] : '\0';
    if (letter == 'z' || letter == 'Z') continue;
    if (letter == '\0' || std::string_view("aAbBcdDeFGhHIjmMnpRStTuUVwWxXyY%").find(letter) == std::string_view::npos) {
      context.unsupported(std::string("the date format %") + (letter == '\0' ? ' ' : letter));
    }
    one += letter;
    char text[128];
    result.append(text, std::strftime(text, sizeof text, one.c_str(), &now));
  }
  return context.text(std::move(result));
}

constexpr std::pair<std::string_view, Function> kFunctions[] = {{"dict", dict},
                                                                {"namespace", make_namespace},
                                                                {"raise_exception", raise_exception},
                                                                {"range", range},
                                                                {"strftime_now", strftime_now}};

}  // namespace

Function find_function(std::string_view name) {
  for (const auto& [known, function] : kFunctions) {
    if (known == name) return function;
  }
  return nullptr;
}

}  // namespace pare::jinja
