// The filters in two tables: of texts and single values, and of lists.
#pragma once

#include <span>
#include <string_view>
#include <utility>

#include "pare/text/jinja/callable.h"

namespace pare::jinja {

using NamedMethod = std::pair<std::string_view, Method>;
std::span<const NamedMethod> value_filters();
std::span<const NamedMethod> list_filters();

}  // namespace pare::jinja
