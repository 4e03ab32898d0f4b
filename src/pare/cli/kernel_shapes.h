// Shapes and kinds of weights by name, for bench kernels and tune.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pare {

struct KernelShape {
  int64_t rows, cols;
};
// llama8b, smollm2 or ROWSxCOLUMNS; UsageError otherwise.
std::vector<KernelShape> kernel_shapes(const std::string& name);

}  // namespace pare
