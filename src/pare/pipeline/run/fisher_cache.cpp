#include "pare/pipeline/run/fisher_cache.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>

#include "pare/base/error.h"
#include "pare/base/fingerprint.h"
#include "pare/base/log.h"
#include "pare/base/paths.h"
#include "pare/io/safetensors.h"
#include "pare/io/safetensors_writer.h"
#include "pare/pipeline/progress.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

// Every array by a name of its own; those of `fisher` are undefined where it is to be filled.
using Arrays = std::map<std::string, at::Tensor>;

Arrays arrays_of(const OutputFisher& fisher) {
  Arrays arrays{{"embedding", fisher.of_embedding}};
  for (const auto& [name, values] : fisher.of_outputs) arrays["outputs " + name] = values;
  for (size_t i = 0; i < fisher.of_tokens.size(); ++i) {
    for (size_t stage = 0; stage < fisher.of_tokens[i].size(); ++stage) {
      arrays["tokens " + std::to_string(i) + " " + std::to_string(stage)] = fisher.of_tokens[i][stage];
    }
  }
  return arrays;
}

std::span<const std::byte> bytes_of(const at::Tensor& values) {
  return {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()};
}

std::string hash_of(const Arrays& arrays) {
  Fingerprint fingerprint;
  for (const auto& [name, values] : arrays) fingerprint.add(name).add(bytes_of(values));
  return fingerprint.hex();
}

// Undefined arrays where the file lacks one or it has another shape.
at::Tensor read(const SafetensorsFile& file, const std::string& name, int64_t count, at::ScalarType type) {
  const TensorInfo* info = file.find(name);
  const Dtype dtype = type == at::kDouble ? Dtype::f64 : Dtype::f32;
  if (info == nullptr || info->dtype != dtype || info->shape != std::vector<int64_t>{count}) {
    throw InputError(file.path().string() + ": " + name + " is not as expected");
  }
  at::Tensor values = at::empty({count}, type);
  std::memcpy(values.mutable_data_ptr(), file.bytes(*info).data(), values.nbytes());
  return values;
}

OutputFisher read_cached(const fs::path& path, const FisherJob& job, int64_t tokens) {
  const DecoderConfig& config = job.decoder->config();
  const auto file = SafetensorsFile::open(path);
  OutputFisher fisher;
  fisher.of_embedding = read(file, "embedding", config.hidden, at::kDouble);
  for (int64_t i = 0; i < config.layers; ++i) {
    auto& of_tokens = fisher.of_tokens.emplace_back();
    const auto stages = config.linear_stages(i);
    for (size_t stage = 0; stage < stages.size(); ++stage) {
      of_tokens.push_back(read(file, "tokens " + std::to_string(i) + " " + std::to_string(stage), tokens, at::kFloat));
      for (const std::string& name : stages[stage]) {
        const ParameterInfo* parameter = job.files->find(name + ".weight");
        PARE_ASSERT(parameter != nullptr);
        fisher.of_outputs[name] = read(file, "outputs " + name, parameter->shape[0], at::kDouble);
      }
    }
  }
  const auto hash = file.metadata().find("fingerprint");
  if (hash == file.metadata().end() || hash->second != hash_of(arrays_of(fisher))) {
    throw InputError(path.string() + ": its contents are not what was written");
  }
  return fisher;
}

void write_cached(const fs::path& path, const OutputFisher& fisher) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  try {
    const fs::path partial = path.string() + ".partial-" + std::to_string(::getpid());
    const Arrays arrays = arrays_of(fisher);
    std::vector<TensorSpec> specs;
    for (const auto& [name, values] : arrays) {
      specs.push_back({name, values.scalar_type() == at::kDouble ? Dtype::f64 : Dtype::f32, {values.numel()}});
    }
    SafetensorsWriter writer(partial, specs, {{"fingerprint", hash_of(arrays)}});
    for (const auto& [name, values] : arrays) writer.write(name, bytes_of(values));
    writer.finish();
    fs::rename(partial, path);
  } catch (const std::exception& reason) {
    log_line(Level::warning, std::string("the gradients are not cached: ") + reason.what());
  }
}

}  // namespace

std::string fisher_key(const FisherJob& job) {
  return Fingerprint()
      .add(job.files->fingerprint())
      .add(job.tokens->fingerprint)
      .add("output fisher 1 " + std::to_string(job.seed))
      .hex();
}

OutputFisher cached_fisher(const FisherJob& job) {
  const auto& windows = job.tokens->calibration;
  const auto tokens = static_cast<int64_t>(windows.size() * windows.front().size());
  const fs::path path = cache_folder() / ("gradients-" + fisher_key(job) + ".safetensors");
  if (fs::exists(path)) {
    try {
      return read_cached(path, job, tokens);
    } catch (const Error& reason) {
      log_line(Level::warning, std::string(reason.what()) + "; the gradients are measured anew");
    }
  }
  Progress progress("gradients", 100);
  OutputFisherOptions options;
  options.seed = job.seed;
  options.checkpoint_bytes = job.checkpoint_bytes;
  int64_t told = 0;
  options.progress = [&](double done) {
    const auto percent = static_cast<int64_t>(100 * done);
    progress.update(percent, "");
    if (percent >= told + 10) {
      told = percent - percent % 10;
      progress.log("gradients: " + std::to_string(told) + " %");
    }
  };
  OutputFisher fisher = output_fisher(*job.decoder, windows, options);
  for (auto& stages : fisher.of_tokens) {
    for (at::Tensor& weights : stages) {
      const double mean = weights.mean(at::kDouble).item<double>();
      mean > 0 ? weights.div_(mean) : weights.fill_(1);  // of a stage that nothing depends on
    }
  }
  write_cached(path, fisher);
  return fisher;
}

}  // namespace pare
