#include "pare/cli/kernel_shapes.h"

#include <cstdlib>

#include "pare/base/error.h"

namespace pare {

std::vector<KernelShape> kernel_shapes(const std::string& name) {
  if (name == "llama8b") return {{4096, 4096}, {14336, 4096}, {4096, 14336}};
  if (name == "smollm2") return {{576, 576}, {1536, 576}, {576, 1536}, {49152, 576}};
  const size_t x = name.find('x');
  KernelShape shape{0, 0};
  if (x != std::string::npos) {
    char* end = nullptr;
    shape.rows = std::strtoll(name.c_str(), &end, 10);
    if (end == name.c_str() + x) shape.cols = std::strtoll(name.c_str() + x + 1, &end, 10);
    if (*end != '\0') shape.cols = 0;
  }
  if (shape.rows < 1 || shape.cols < 1 || shape.rows > 1 << 20 || shape.cols > 1 << 20) {
    throw UsageError("--shape " + name +
                     ": expected llama8b, smollm2 or ROWSxCOLUMNS, each up to 1048576, for example 4096x14336");
  }
  return {shape};
}

}  // namespace pare
