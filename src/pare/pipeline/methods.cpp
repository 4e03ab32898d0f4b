#include "pare/pipeline/methods.h"

#include "pare/base/error.h"
#include "pare/base/units.h"

namespace pare {

const std::vector<MethodInfo>& methods() {
  static const std::vector<MethodInfo> table{
      {"gptq", "rounds column by column, the rest of the row making up for it", CurvatureNeed::full, true, false,
       PruneUnit::layer},
      {"rtn", "rounds each weight to the nearest point of its grid", CurvatureNeed::none, true, false,
       PruneUnit::layer},
      {"sparsegpt", "removes (and rounds) column by column, the rest of the row making up for it", CurvatureNeed::full,
       true, true, PruneUnit::tile},
      {"wanda", "removes the smallest |weight| x |input| of each row", CurvatureNeed::diagonal, false, true,
       PruneUnit::row},
      {"magnitude", "removes the smallest weights of the layer", CurvatureNeed::none, false, true, PruneUnit::layer},
      {"none", "leaves the layer as it is", CurvatureNeed::none, false, false, PruneUnit::layer},
  };
  return table;
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const MethodInfo& method : methods()) names.emplace_back(method.name);
  return names;
}

const MethodInfo& method_named(const std::string& name, const std::string& where) {
  for (const MethodInfo& method : methods()) {
    if (name == method.name) return method;
  }
  const std::vector<std::string> known = method_names();
  const std::string near = nearest_word(name, known);
  std::string all;
  for (const std::string& word : known) all += (all.empty() ? "" : ", ") + word;
  throw UsageError(where + ": no method \"" + name + "\"" + (near.empty() ? "" : "; did you mean " + near + "?") +
                   " Known: " + all);
}

}  // namespace pare
