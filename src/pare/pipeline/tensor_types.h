// GGUF types of single tensors: as the command line says them, and which of them a file of a wanted size may hold.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "pare/io/ggml_type.h"
#include "pare/pipeline/plan.h"
#include "pare/pipeline/recipe.h"
#include "pare/weights/model_files.h"

namespace pare {

// "attn_v=Q6_K": each matrix in whose name, GGUF's or Hugging Face's, the regular expression is found gets that type
// ("none": it is left as it is), over what the recipe says so far; later ones win. UsageError: no "=", an unknown type,
// an expression that matches nothing.
void add_tensor_types(const std::vector<std::string>& assignments, const ModelFiles& files, Recipe& recipe);

// Each layer's own type, over what the recipe says.
Recipe with_types(Recipe recipe, const std::map<std::string, const GgmlType*>& types);

// Types whose blocks divide rows of `cols`, by size, the smallest first; of several with equal bits all.
std::vector<const GgmlType*> types_for_rows(int64_t cols);

// Tensors that a recipe with a size leaves open: linears, embedding and head without a type of their own.
struct OpenTensor {
  std::string layer;
  std::vector<int64_t> shape;
};
std::vector<OpenTensor> open_tensors(const ModelFiles& files, const Recipe& recipe);

// The largest uniform choice for the open tensors that fits recipe.size: what the plan shows before anything is
// measured. UsageError where nothing fits, with the least size that does.
std::map<std::string, const GgmlType*> uniform_types(const ModelFiles& files, const Recipe& recipe,
                                                     const PlanOptions& options);

}  // namespace pare
