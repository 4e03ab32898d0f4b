// What the pipeline must know of a method before it runs; the solvers themselves: pipeline/run/solvers.
#pragma once

#include <string>
#include <vector>

#include "pare/weights/pattern.h"

namespace pare {

enum class CurvatureNeed {
  none,      // data-free
  diagonal,  // the norm of each input
  full,      // the layer's Hessian
};

struct MethodInfo {
  const char* name;
  const char* summary;
  CurvatureNeed need;
  bool quantizes;
  bool prunes;
  PruneUnit unit;  // within which its counts are exact
};

const std::vector<MethodInfo>& methods();
std::vector<std::string> method_names();
// UsageError with the nearest known name.
const MethodInfo& method_named(const std::string& name, const std::string& where);

}  // namespace pare
