// What the report beside a model says of it, for those who only use the model.
#pragma once

#include <optional>
#include <string>

#include "pare/weights/model_files.h"

namespace pare {

// One JSON object out of the report that `pare compress` left beside these weights, NAME.report.json for NAME.gguf or
// report.json in their folder:
//   {base, base_bytes, bytes, bits_per_weight, sparsity, text, perplexity, base_perplexity, kl, top1}
// each key only where the report has it. Nothing when there is no report. When there is one that cannot be read, or
// that is about other weights (their size tells), nothing and why in `warning`.
std::optional<std::string> model_report(const ModelFiles& model, std::string* warning);

}  // namespace pare
