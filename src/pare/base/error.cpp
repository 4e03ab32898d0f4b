#include "pare/base/error.h"

#include <cstdio>
#include <cstdlib>

namespace pare {

void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "pare: bug: %s does not hold at %s:%d. Please report this.\n", condition, file, line);
  std::abort();
}

}  // namespace pare
