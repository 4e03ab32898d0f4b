// The same weights in another format: nothing is fitted, and no value changes unless asked for.
//
//   from                        to hf        to gptq / compressed-tensors      to gguf
//   dense                       as it is     as it is                          F32, F16, BF16 as it is
//   bitmask (pruned)            dense        bitmask (compressed-tensors)      dense
//   GPTQ, pack-quantized        F32          where the format has the grid     groups of 32: Q4_0, Q4_1, Q8_0
//   GGUF Q4_0, Q8_0             F32          groups of 32                      as it is
//   other GGUF blocks           F32          --                                as it is
//
// "--" and grids that the format lacks are refused by name, or written dense with `dequantize`: in F32, which holds
// every such value exactly, unless `dtype` says otherwise.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pare/pipeline/exporter.h"

namespace pare {

struct ConvertOptions {
  OutputFormat format = OutputFormat::hf;
  bool dequantize = false;          // all quantized weights become dense
  std::optional<Dtype> dtype = {};  // of dense floats; nothing: as they are, F32 for dequantized ones
};

// The job, and what is done to how many parameters ("210 dequantized to F32"). UnsupportedError lists what does not
// fit.
struct Conversion {
  ExportJob job;
  std::vector<std::string> changes;
};
Conversion plan_conversion(const ModelFiles& source, const ConvertOptions& options);

// Q4_0 and Q8_0 are plain grids of 32 in other bytes.
bool is_plain_grid(const WeightForm& form);
WeightForm grid_form(const WeightForm& blocks);
Weight grid_of(const Weight& blocks);

}  // namespace pare
