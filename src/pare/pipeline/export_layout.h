// How one parameter stands in the safetensors files of an output format, and how the parameters are dealt out to
// shards.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "pare/io/safetensors_writer.h"
#include "pare/pipeline/exporter.h"

namespace pare {

// gptq_v2 for all layers of a model when one is asymmetric: v1 stores zeros less one, so a zero of 0 wraps, and
// GPTQModel 7.7 adds its one to whole words, which carries into the next zero. Its own loader refuses such v1 anyway.
enum class StoredAs { dense, gptq, gptq_v2, packed, bitmask, bitmask_24, aqlm, pare };

using WriteTensor = std::function<void(const std::string& name, std::span<const std::byte> bytes)>;

// One for each parameter of the job.
std::vector<StoredAs> stored_as(const ExportJob& job);
std::vector<TensorSpec> stored_tensors(const ExportParameter& parameter, StoredAs as);
// Gives the tensors that stored_tensors() announced to `write`, each once.
void store(const ExportParameter& parameter, StoredAs as, const Weight& weight, const WriteTensor& write);

// The values as `dtype`, row-major. No copy when they are so already. UnsupportedError naming the parameter when a
// finite value is too large for f16.
Bytes dense_values(const Weight& weight, Dtype dtype, const std::string& name);

// Our mistake if the weight is not what its form promised.
void check_promise(const ExportParameter& parameter, const Weight& weight);

// Matrices that are products: what quantization_config's "Linear" means.
bool is_linear(const ExportParameter& parameter);

struct Shard {
  std::string file_name;
  std::vector<TensorSpec> tensors;  // widest elements first, so that each is aligned in the file
  std::vector<size_t> parameters;   // of the job, in order
  std::map<std::string, std::string> metadata = {};
};
// At most job.shard_bytes of tensors a file (a larger parameter has one for itself).
std::vector<Shard> deal_out(const ExportJob& job, const std::vector<StoredAs>& as);

}  // namespace pare
