#include "pare/weights/parameter_check.h"

#include "pare/base/error.h"
#include "pare/weights/stored_tensor.h"

namespace pare {

void check_parameter(const ModelFiles& files, const ParameterInfo* found, const std::string& name,
                     const std::vector<int64_t>& shape) {
  const std::string where = files.path().string() + ": tensor ";
  if (found == nullptr) {
    throw InputError(where + name + " is missing, expected by config.json with shape " + shape_text(shape));
  }
  if (!found->readable) throw UnsupportedError(where + found->name + ": " + found->why_not);
  if (found->shape != shape) {
    throw InputError(where + found->name + " has shape " + shape_text(found->shape) + ", config.json makes it " +
                     shape_text(shape));
  }
}

}  // namespace pare
