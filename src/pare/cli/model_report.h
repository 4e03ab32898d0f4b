// What the report beside a model says of it, for those who only use the model.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace pare {

// One JSON object out of the report.json that `pare compress` left beside these weights:
//   {base, base_bytes, bytes, bits_per_weight, sparsity, text, perplexity, base_perplexity, kl, top1}
// each key only where the report has it. Nothing when there is no report. When there is one that cannot be read, or
// that is about other weights (their size tells), nothing and why in `warning`.
std::optional<std::string> model_report(const std::filesystem::path& model, std::string* warning);

}  // namespace pare
