// A model as one .gguf file, or as the parts that it is split into.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "pare/io/gguf_split.h"
#include "pare/pipeline/exporter.h"

namespace pare {

constexpr int64_t kGgufGroup = 32;  // inputs that share a scale in Q4_0, Q4_1 and Q8_0

// The block type that holds `form` without changing a value; vectors are F32. Nothing when there is none.
const GgmlType* gguf_type_for(const WeightForm& form);
std::string gguf_why_not(const WeightForm& form);  // empty: it fits

// The tensor's bytes as blocks of gguf_type_for(form), rows in the order of the weight. UnsupportedError naming the
// parameter when a zero point does not fit f16.
std::vector<std::byte> gguf_bytes(const Weight& weight, const WeightForm& form, const std::string& name);

struct GgufPlan {
  std::vector<GgufPart> files;       // "SmolLM2-135M-Instruct-Q4_1.gguf"
  std::vector<size_t> parameters;    // of the job, one for each of the first tensors
  std::vector<float> rope_divisors;  // of rope_freqs.weight, the last tensor; mostly there is none
};
GgufPlan plan_gguf(const ExportJob& job);
void write_gguf(const ExportJob& job, const GgufPlan& plan, const std::filesystem::path& folder,
                const std::function<void(const std::string&)>& progress);

}  // namespace pare
