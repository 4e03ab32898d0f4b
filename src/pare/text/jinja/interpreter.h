// Runs a parsed template.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "pare/text/jinja/ast.h"
#include "pare/text/jinja/context.h"

namespace pare::jinja {

// What the template writes, given the values of its names. Errors as Context throws them.
std::string run(Context& context, const Body& body, std::vector<std::pair<std::string, Value>> names);

}  // namespace pare::jinja
