// The same weights in another format: nothing is fitted, and no value changes unless that is said to be well
// (`lossy`).
//
//   from                        to hf        to gptq / compressed-tensors       to gguf
//   dense                       as it is     as it is                           F32, F16, BF16 as it is
//   FP8, NF4, AQLM              F32          F32                                F32
//                                                                               (AQLM to aqlm: as it is)
//   bitmask (pruned)            dense        bitmask (compressed-tensors)       dense
//   GPTQ, AWQ, INT8, packed     F32          in at least as many bits           the smallest type that holds them, of
//                                                                               Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 TQ2_0
//   GGUF Q4_0 Q5_0 Q8_0 TQ
//   IQ4_NL MXFP4                F32          the same grid                      as it is
//   other GGUF blocks           F32          lossy                              as it is
//
// To Pare's own container all goes as it is, FP8 and NF4 as F32; to aqlm what is AQLM or dense.
//
// Lossy, and refused with a list of what would change unless `lossy`: another type in GGUF (`type`), a grid where there
// was none (`bits`), floats of fewer bits (`dtype`; but not where every value is held exactly), and grids that the
// format lacks. `dequantize` writes all dense, in F32, which holds every such value. Whether integers fit is seen from
// the data, so that the plan reads them once.
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
  std::string type = {};  // gguf: a type or mix by name for linears, embedding and head; aqlm: "2x8" for linears
  // gptq, compressed-tensors, pare: linears of blocks rounded to grids of so many bits; 0: not again
  int bits = 0;
  int64_t group = 0;  // of such grids; 0: 128, or the largest of 64 and 32 that divides, else the whole row
  bool lossy = false;
  std::optional<GptqVersion> gptq_version = {};  // nothing: v2 if a layer is asymmetric, else v1
  std::string gguf_name = {};                    // as in ExportJob
  uint64_t split_bytes = 0;                      // as in ExportJob
};

// The job, and what is done to how many parameters ("210 x BF16 rounded to Q4_K"). UnsupportedError lists what would
// change.
struct Conversion {
  ExportJob job;
  std::vector<std::string> changes;
  std::vector<std::string> notes;  // what the source holds that is left out, types that stand in for others
};
Conversion plan_conversion(const ModelFiles& source, const ConvertOptions& options);

}  // namespace pare
