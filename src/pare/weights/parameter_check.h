// That a model's files hold what its config speaks of.
#pragma once

#include <string>
#include <vector>

#include "pare/weights/model_files.h"

namespace pare {

// `found`: the parameter that is called `name` in messages where there is none. InputError when it is missing or of
// another shape, UnsupportedError when it cannot be read.
void check_parameter(const ModelFiles& files, const ParameterInfo* found, const std::string& name,
                     const std::vector<int64_t>& shape);

}  // namespace pare
