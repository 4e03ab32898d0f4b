// Which Pare this is.
#pragma once

#include <string>

namespace pare {

std::string version();     // "0.1.0"
std::string git_commit();  // "1a2b3c4d5e6f", with "+" when the tree had changes; empty outside a checkout
std::string compiler();    // "GCC 12.2.0"

}  // namespace pare
