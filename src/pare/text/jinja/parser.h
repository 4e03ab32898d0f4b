// Tokens to a tree, by Jinja's grammar. What lies beyond the subset is refused here, with its line, so that a template
// which parses mostly runs: unknown statements, filters and tests are found before the first message is rendered.
#pragma once

#include <string>
#include <string_view>

#include "pare/text/jinja/ast.h"

namespace pare::jinja {

// UnsupportedError names `where`, the line and what was found there.
Body parse(std::string_view source, const std::string& where);

}  // namespace pare::jinja
