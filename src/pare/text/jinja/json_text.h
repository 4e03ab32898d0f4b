// JSON in and out of templates.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "pare/text/jinja/context.h"

namespace pare::jinja {

// Counts towards the run's budget (Context::allow_input). InputError when nested too deep or an integer has more than
// 64 bits.
Value from_json(Context& context, const nlohmann::ordered_json& json);

struct JsonStyle {
  bool ascii = false;  // escape what is beyond ASCII
  bool lines = false;  // one member a line, each level indented by
  std::string indent;
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
};
// As Python's json.dumps writes it.
std::string to_json(Context& context, const Value& value, const JsonStyle& style);

}  // namespace pare::jinja
