// A model on disk, whatever its format, seen the same way: Hugging Face's config keys and parameter names.
//
// Opens a Hugging Face folder (dense; GPTQ v1/v2; AWQ; compressed-tensors pack-, int-, naive- and float-quantized,
// sparse-bitmask and sparse-24-bitmask; transformers' fp8; bitsandbytes' 4 bits; AQLM) or a .gguf file (llama, qwen2,
// qwen3, gemma architectures: names mapped, q/k rows put back into Hugging Face's order, Gemma's +1 on norms undone,
// config made from metadata), in one file or in the parts that gguf-split cuts it into, also by the folder that it is
// alone in. Only headers are read on opening.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "pare/weights/weight.h"
#include "pare/weights/weight_form.h"

namespace pare {

class GgufParts;
class HfFolder;

struct ParameterInfo {
  std::string name;  // "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;
  WeightForm form;  // known without reading the data
  // form.describe(); the file's own word for what is dense only once it is read (FP8, NF4, AQLM) or cannot be read
  std::string format;
  uint64_t bytes = 0;  // on disk, all parts together
  bool readable = true;
  std::string why_not;  // when not readable
};

class ModelFiles {
 public:
  // Throws InputError / UnsupportedError with what is wrong and the way out.
  static ModelFiles open(const std::filesystem::path& model);

  const std::filesystem::path& path() const;             // the folder, the .gguf file or the first part of it
  std::string format() const;                            // "safetensors", "gguf", or quantization_config's quant_method
  const nlohmann::json& config() const;                  // Hugging Face's keys, without quantization_config
  const std::vector<ParameterInfo>& parameters() const;  // in the order of the files
  const ParameterInfo* find(const std::string& name) const;
  Weight read(const std::string& name) const;   // as stored, validated; InputError when absent
  void release(const std::string& name) const;  // its pages will not be read again soon
  uint64_t bytes() const;                       // of all weight files
  std::vector<std::string> notes() const;       // what the files hold that Pare makes no use of, in whole sentences

  const GgufParts* gguf() const;      // nothing unless it is one
  const HfFolder* hf_folder() const;  // nothing unless it is one
  std::vector<std::filesystem::path> weight_files() const;
  // Changes when the config or the weights do: all bytes of files up to 1 GiB; of larger ones the header and 1 MiB of
  // every 64 MiB. What the journal compares.
  std::string fingerprint() const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace pare
