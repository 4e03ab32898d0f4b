// Writing a model in a format that other people's software loads.
//
//   hf                   Hugging Face folder, dense weights of the model's dtype (pruned, or dequantized for study)
//   gptq                 GPTQ v1, v2 when asymmetric: qweight, qzeros, scales, g_idx
//   compressed-tensors   pack-quantized for integers; sparse-24-bitmask / sparse-bitmask for masks
//   aqlm                 codes, codebooks, scales (sums of codebook entries)
//   pare                 Pare's own container, for whatever no other format holds (weights/pare_layout.h)
//   gguf                 one .gguf file, or the parts of one; Q4_0, Q4_1, Q8_0 where the grid is exactly theirs,
//   F16/BF16/F32 otherwise
//
// A job names every parameter with its form (known before the work) and how to get its value (asked for once, in
// order, one at a time). Memory: one parameter. The sizes are known to the byte before anything is written.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pare/io/output_folder.h"
#include "pare/weights/gptq_layout.h"
#include "pare/weights/model_files.h"
#include "pare/weights/weight_form.h"

namespace pare {

enum class OutputFormat { hf, gptq, compressed_tensors, aqlm, pare, gguf };
OutputFormat parse_output_format(std::string_view text);  // UsageError with the nearest known word
std::string_view name_of(OutputFormat format);
std::vector<std::string> output_formats();  // their names
std::string output_formats_text();          // "hf, gptq, compressed-tensors, aqlm, pare or gguf"

struct ExportParameter {
  std::string name;  // Hugging Face's
  WeightForm form;
  std::function<Weight()> read;
  // Where making the weight a second time is dear: read() leaves the fingerprint of its codes here, and check_export
  // goes by that. Null: it asks once more.
  std::shared_ptr<std::string> fingerprint = {};
};

struct ExportJob {
  const ModelFiles* source = nullptr;  // config, tokenizer and files to carry along come from here
  OutputFormat format = OutputFormat::hf;
  std::vector<ExportParameter> parameters;
  std::string quantized_by = "Pare";  // empty: as the source has it
  // For quantization_config: what the format wants to know of the method beyond the forms.
  std::string method;  // "gptq"
  double damp = 0.01;
  bool act_order = true;  // with static groups: no run-time permutation
  bool static_groups = true;
  bool true_sequential = true;
  uint64_t shard_bytes = 5'000'000'000;
  std::optional<GptqVersion> gptq_version = {};  // nothing: v2 when a layer is asymmetric, else v1
  std::string gguf_mix;        // what a GGUF file is called after; empty: after the type of most of its bytes
  std::string gguf_name = {};  // what it is called instead, without .gguf; empty: after model and type
  uint64_t split_bytes = 0;    // of a GGUF file at most: a larger model is written in parts; 0: in one
};

// Empty when `form` can be written in `format`, or why not ("gptq has no 5-bit form", "gguf wants groups of 32").
// In hf everything can: what is not dense is rounded to form.dtype. An asymmetric 4-bit grid goes into gguf only if
// each scale * zero is exact in f16 (GridOptions::scale_bits), which shows when the weight is there.
std::string why_not(const WeightForm& form, OutputFormat format);
// UsageError: only GGUF is split at a size of the user's.
void refuse_split_of_other_formats(uint64_t split_bytes, OutputFormat format);

struct ExportSizes {
  uint64_t weight_bytes = 0;  // all weight files together, to the byte
  std::vector<std::string> file_names;
  std::vector<uint64_t> file_bytes;
  std::vector<uint64_t> parameter_bytes;  // of each parameter of the job, without headers

  // "3000 bytes: small.gguf", or "3000 bytes in 2 files" and a line for each of them.
  std::vector<std::string> lines() const;
};
ExportSizes export_sizes(const ExportJob& job);  // headers only; no parameter is read

// What whoever loads the result should know, in whole sentences: which current readers do not take it.
std::vector<std::string> export_notes(const ExportJob& job);

std::string codes_fingerprint(const Weight& weight);  // of GGUF blocks and codebooks; empty for any other weight

// Everything but recipe.yaml and the reports, which the pipeline adds. `progress` is called after each parameter.
void export_model(const ExportJob& job, OutputFolder& output,
                  const std::function<void(const std::string&)>& progress = {});

// Every parameter of the job, asked for once more or by its fingerprint, against what was written, value by value:
// dense ones after rounding to the type that was written. Error naming the first that differs.
void check_export(const ExportJob& job, const ModelFiles& written);

}  // namespace pare
