// Files that the program holds.
#pragma once

#include <string_view>

namespace pare {

std::string_view chat_page();            // page.html
std::string_view openapi_description();  // openapi.json

}  // namespace pare
