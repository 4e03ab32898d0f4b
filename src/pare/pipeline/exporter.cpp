#include "pare/pipeline/exporter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/fingerprint.h"
#include "pare/base/interrupt.h"
#include "pare/base/json.h"
#include "pare/base/units.h"
#include "pare/io/hf_folder.h"
#include "pare/io/safetensors_writer.h"
#include "pare/pipeline/export_config.h"
#include "pare/pipeline/export_gguf.h"
#include "pare/pipeline/export_layout.h"
#include "pare/text/tokenizer.h"
#include "pare/weights/aqlm_layout.h"
#include "pare/weights/compressed_tensors_layout.h"
#include "pare/weights/gguf_model.h"
#include "pare/weights/gptq_layout.h"
#include "pare/weights/sentence_modules.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

constexpr std::array kFormats = {std::pair(OutputFormat::hf, "hf"),
                                 std::pair(OutputFormat::gptq, "gptq"),
                                 std::pair(OutputFormat::compressed_tensors, "compressed-tensors"),
                                 std::pair(OutputFormat::aqlm, "aqlm"),
                                 std::pair(OutputFormat::pare, "pare"),
                                 std::pair(OutputFormat::gguf, "gguf")};

// Made anew with every output, or about weights that are not there any more.
bool is_superseded(const fs::path& name) {
  static const std::array kNames = {"README.md", "quantize_config.json", "recipe.yaml", "report.json", "report.html"};
  const std::string extension = name.extension().string();
  return std::find(kNames.begin(), kNames.end(), name.string()) != kNames.end() || extension == ".gguf" ||
         extension == ".onnx" || extension == ".onnx_data" || extension == ".h5" || extension == ".msgpack" ||
         extension == ".ot" || name.filename() == "pytorch_model.bin.index.json";
}

std::string pretty(const nlohmann::json& json) {
  return dump_json(json, 2) + "\n";
}

void carry_files(const ExportJob& job, OutputFolder& output) {
  if (const HfFolder* folder = job.source->hf_folder()) {
    for (const fs::path& name : folder->other_files()) {
      if (!is_superseded(name)) output.copy_file(folder->path() / name, name);
    }
    return;
  }
  const Tokenizer tokenizer = Tokenizer::open(job.source->path());
  output.write_file("tokenizer.json", tokenizer.to_json());
  output.write_file("tokenizer_config.json", tokenizer.config_json());
  output.write_file("special_tokens_map.json", tokenizer.special_tokens_map_json());
  if (is_encoder(job.source->config())) {
    const SentencePooling pooling = sentence_modules(*job.source).pooling.value_or(SentencePooling::none);
    for (const auto& [name, text] : sentence_files(pooling, EncoderConfig::from_hf(job.source->config()))) {
      output.write_file(name, text);
    }
    return;
  }
  nlohmann::json generation = nlohmann::json::object();
  if (const auto bos = tokenizer.bos()) generation["bos_token_id"] = *bos;
  if (const auto eos = tokenizer.eos()) generation["eos_token_id"] = *eos;
  output.write_file("generation_config.json", pretty(generation));
}

void carry_licence(const ExportJob& job, OutputFolder& output) {
  const HfFolder* folder = job.source->hf_folder();
  if (folder == nullptr) return;
  for (const fs::path& name : folder->other_files()) {
    const std::string text = name.string();
    if (text.starts_with("LICENSE") || text.starts_with("LICENCE") || text.starts_with("NOTICE")) {
      output.copy_file(folder->path() / name, name);
    }
  }
}

void write_shards(const ExportJob& job, const std::vector<StoredAs>& as, OutputFolder& output,
                  const std::function<void(const std::string&)>& progress, bool& act_order) {
  const std::vector<Shard> shards = deal_out(job, as);
  nlohmann::json weight_map = nlohmann::json::object();
  uint64_t total = 0;
  for (const Shard& shard : shards) {
    SafetensorsWriter writer(output.path() / shard.file_name, shard.tensors, shard.metadata);
    for (const size_t index : shard.parameters) {
      const ExportParameter& parameter = job.parameters[index];
      const Weight weight = parameter.read();
      const auto* ints = std::get_if<GroupedInts>(&weight.base);
      act_order = act_order || (ints != nullptr && !ints->group_index.empty());
      store(parameter, as[index], weight, [&](const std::string& name, std::span<const std::byte> bytes) {
        writer.write(name, bytes);
        weight_map[name] = shard.file_name;
        total += bytes.size();
      });
      job.source->release(parameter.name);
      if (progress) progress(parameter.name);
      stop_if_interrupted();
    }
    writer.finish();
  }
  if (shards.size() > 1) {
    output.write_file("model.safetensors.index.json",
                      pretty({{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}}));
  }
}

}  // namespace

std::vector<std::string> output_formats() {
  std::vector<std::string> names;
  for (const auto& [format, name] : kFormats) names.emplace_back(name);
  return names;
}

std::string output_formats_text() {
  const std::vector<std::string> names = output_formats();
  std::string text = names[0];
  for (size_t i = 1; i < names.size(); ++i) text += (i + 1 == names.size() ? " or " : ", ") + names[i];
  return text;
}

OutputFormat parse_output_format(std::string_view text) {
  for (const auto& [format, name] : kFormats) {
    if (text == name) return format;
  }
  const std::vector<std::string> known = output_formats();
  const std::string near = nearest_word(text, known);
  throw UsageError("format \"" + std::string(text) + "\" is not known" +
                   (near.empty() ? "." : "; did you mean " + near + "?") + " There are " + output_formats_text());
}

std::string_view name_of(OutputFormat format) {
  for (const auto& [one, name] : kFormats) {
    if (one == format) return name;
  }
  return "hf";
}

std::string why_not(const WeightForm& form, OutputFormat format) {
  if (format == OutputFormat::hf || format == OutputFormat::pare) return {};
  if (format == OutputFormat::gguf) return gguf_why_not(form);
  if (form.kind == WeightForm::Kind::dense) return {};
  const std::string name(name_of(format));
  if (format == OutputFormat::aqlm) return aqlm_why_not(form);
  if (form.kind == WeightForm::Kind::additive_codes) {
    return name + " does not hold sums of codebook entries; dequantize them first";
  }
  if (form.kind == WeightForm::Kind::gguf_blocks) return name + " does not hold GGUF blocks; dequantize them first";
  return format == OutputFormat::gptq ? gptq_why_not(form) : packed_why_not(form);
}

void refuse_split_of_other_formats(uint64_t split_bytes, OutputFormat format) {
  if (split_bytes == 0 || format == OutputFormat::gguf) return;
  throw UsageError("split: for GGUF, not for " + std::string(name_of(format)) +
                   ", which comes in files of at most 5 GB in any case. Leave --split out, or use --format gguf");
}

std::vector<std::string> ExportSizes::lines() const {
  const std::string all = std::to_string(weight_bytes) + " bytes";
  if (file_names.size() == 1) return {all + ": " + file_names[0]};
  std::vector<std::string> lines{all + " in " + std::to_string(file_names.size()) + " files"};
  size_t width = 0;
  for (const uint64_t bytes : file_bytes) width = std::max(width, std::to_string(bytes).size());
  for (size_t i = 0; i < file_names.size(); ++i) {
    const std::string bytes = std::to_string(file_bytes[i]);
    lines.push_back(std::string(width - bytes.size(), ' ') + bytes + " bytes: " + file_names[i]);
  }
  return lines;
}

ExportSizes export_sizes(const ExportJob& job) {
  ExportSizes sizes;
  if (job.format == OutputFormat::gguf) {
    const GgufPlan plan = plan_gguf(job);
    for (const GgufPart& file : plan.files) {
      sizes.file_names.push_back(file.file_name);
      sizes.file_bytes.push_back(gguf_file_bytes(file.metadata, file.tensors));
    }
    sizes.parameter_bytes.resize(job.parameters.size());
    for (const size_t index : plan.parameters) {
      const WeightForm& form = job.parameters[index].form;
      const GgmlType& type = *gguf_type_for(form);
      const auto elements = static_cast<uint64_t>(form.elements());
      sizes.parameter_bytes[index] =
          elements / static_cast<uint64_t>(type.block_elements) * static_cast<uint64_t>(type.block_bytes);
    }
  } else {
    const std::vector<StoredAs> as = stored_as(job);
    for (const Shard& shard : deal_out(job, as)) {
      sizes.file_names.push_back(shard.file_name);
      sizes.file_bytes.push_back(safetensors_file_bytes(shard.tensors, shard.metadata));
    }
    for (size_t i = 0; i < job.parameters.size(); ++i) {
      uint64_t bytes = 0;
      for (const TensorSpec& tensor : stored_tensors(job.parameters[i], as[i])) {
        uint64_t elements = 1;
        for (const int64_t dim : tensor.shape) elements *= static_cast<uint64_t>(dim);
        bytes += elements * static_cast<uint64_t>(size_of(tensor.dtype));
      }
      sizes.parameter_bytes.push_back(bytes);
    }
  }
  for (const uint64_t bytes : sizes.file_bytes) sizes.weight_bytes += bytes;
  return sizes;
}

std::vector<std::string> export_notes(const ExportJob& job) {
  std::vector<std::string> notes;
  if (job.format == OutputFormat::hf) return notes;
  if (job.format == OutputFormat::gguf) {
    return job.source->gguf() != nullptr ? notes : gguf_warnings(job.source->config());
  }
  const bool all_dense =
      std::all_of(job.parameters.begin(), job.parameters.end(), [](const ExportParameter& parameter) {
        return parameter.form.kind == WeightForm::Kind::dense && !parameter.form.masked;
      });
  if (all_dense) {
    const bool aqlm = job.format == OutputFormat::aqlm;
    return {"No layer is quantized or pruned, so this is a dense folder like any other. To round it: " +
            std::string(aqlm ? "--type 2x8" : "--bits 4") + " --lossy, or `pare compress`."};
  }
  if (job.format == OutputFormat::pare) {
    return {"Pare's own container, which Pare alone reads: for other software, `pare convert` it."};
  }
  if (job.format == OutputFormat::aqlm) {
    return {
        "transformers loads AQLM folders with the package aqlm beside it; vLLM and llama.cpp do not (vLLM dropped them "
        "in 2025)."};
  }
  bool bitmasks = false, zeros_in_codes = false, odd_bits = false, asymmetric = false, scales_f16 = false;
  for (const ExportParameter& parameter : job.parameters) {
    const WeightForm& form = parameter.form;
    const bool ints = form.kind == WeightForm::Kind::grouped_ints;
    bitmasks = bitmasks || (form.masked && !ints);
    zeros_in_codes = zeros_in_codes || (form.masked && ints);
    odd_bits = odd_bits || (ints && form.bits != 4 && form.bits != 8);
    asymmetric = asymmetric || (ints && !form.symmetric);
    scales_f16 = scales_f16 || (ints && form.scale_dtype == Dtype::f16);
  }
  if (bitmasks && job.format == OutputFormat::compressed_tensors) {
    notes.push_back(
        "The pruned layers are stored as bitmasks, which compressed-tensors dropped after 0.14 and vLLM after 0.18. "
        "Current transformers does not refuse this folder but fills these layers with random values: load it with the "
        "older versions, or make a dense one with `pare convert --format hf`.");
  }
  if (zeros_in_codes) {
    notes.push_back("Removed weights are stored as the code of zero: exact, but no current reader makes use of them.");
  }
  if (scales_f16 && main_dtype(job) == Dtype::bf16) {
    notes.push_back(
        "The scales are F16 and the model is BF16: loaded as the model's own type, transformers rounds the scales to "
        "BF16. Load with dtype=\"float16\", or compress with BF16 scales.");
  }
  if (job.format == OutputFormat::gptq) {
    const nlohmann::json config = export_config(job, stored_as(job), false);
    const bool mixed = config.contains("quantization_config") && config["quantization_config"].contains("dynamic");
    if (mixed) {
      notes.push_back(
          "The layers differ in their grids, which GPTQModel.load takes and transformers' from_pretrained does not.");
    }
    if (asymmetric && job.gptq_version == GptqVersion::v1) {
      notes.push_back(
          "Asymmetric layers in GPTQ v1, which stores zeros less one: GPTQModel refuses them, and a reader that does "
          "not "
          "wrap a zero of 0 gets it wrong. Without --gptq-version they are written as v2.");
    }
    if (odd_bits || asymmetric) {
      notes.push_back("vLLM's current GPTQ loader takes symmetric 4 and 8 bits only; GPTQModel takes this one.");
    }
  }
  if (asymmetric && job.format == OutputFormat::compressed_tensors) {
    notes.push_back(
        "transformers with compressed-tensors 0.18 to 0.20 refuses every asymmetric pack-quantized folder (sizes of "
        "weight_zero_point); with 0.15 to 0.17 it loads those of 4 and 8 bits. `pare convert --format gptq` makes one "
        "that current versions load.");
  }
  if (odd_bits && job.format == OutputFormat::compressed_tensors) {
    notes.push_back(
        "Bits other than 4 and 8 need compressed-tensors 0.18 or later, and transformers: vLLM's fast kernels take 4 "
        "and 8.");
  }
  return notes;
}

void export_model(const ExportJob& job, OutputFolder& output, const std::function<void(const std::string&)>& progress) {
  const ExportSizes sizes = export_sizes(job);
  require_free_space(output.path(), sizes.weight_bytes);
  if (job.format == OutputFormat::gguf) {
    write_gguf(job, plan_gguf(job), output.path(), progress);
    carry_licence(job, output);
  } else {
    const std::vector<StoredAs> as = stored_as(job);
    bool act_order = false;
    write_shards(job, as, output, progress, act_order);
    const nlohmann::json config = export_config(job, as, act_order);
    output.write_file("config.json", pretty(config));
    if (job.format == OutputFormat::gptq && config.contains("quantization_config")) {
      output.write_file("quantize_config.json", pretty(config["quantization_config"]));
    }
    carry_files(job, output);
  }
  output.write_file("README.md", model_card(job, sizes));
}

std::string codes_fingerprint(const Weight& weight) {
  if (const auto* blocks = std::get_if<GgufBlocks>(&weight.base)) {
    return Fingerprint().add(blocks->type->name).add(blocks->data.span()).hex();
  }
  if (!std::holds_alternative<AdditiveCodes>(weight.base)) return {};
  Fingerprint fingerprint;
  for (const StoredTensor& tensor : pack_aqlm(weight, "")) fingerprint.add(std::span<const std::byte>(tensor.data));
  return fingerprint.hex();
}

namespace {

bool same_values(const Weight& expected, const Weight& found, bool raised) {
  const auto* dense = std::get_if<Dense>(&found.base);
  const int64_t rows = expected.rows(), cols = expected.cols();
  if (expected.shape != found.shape) return false;
  const int64_t step = std::max<int64_t>(1, (int64_t{1} << 20) / std::max<int64_t>(cols, 1));
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    std::vector<float> a(static_cast<size_t>(count * cols)), b(a.size());
    expected.unpack_rows(first, count, a);
    found.unpack_rows(first, count, b);
    if (dense != nullptr && !found.mask) a = dense_weight({count, cols}, dense->dtype, a).unpack();
    for (size_t i = 0; i < a.size(); ++i) {
      const bool equal = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
      // gguf keeps Gemma's norms plus one, so their last bits are lost
      if (!equal && !(raised && std::fabs(a[i] - b[i]) <= 2e-7f * (1 + std::fabs(a[i])))) return false;
    }
  }
  return true;
}

}  // namespace

void check_export(const ExportJob& job, const ModelFiles& written) {
  for (const ExportParameter& parameter : job.parameters) {
    if (written.find(parameter.name) == nullptr && parameter.name.ends_with(".rotary_emb.inv_freq")) continue;
    const Weight found = written.read(parameter.name);
    const bool raised =
        job.format == OutputFormat::gguf && GgufModel::of_config(job.source->config()).is_raised_norm(parameter.name);
    const bool known = parameter.fingerprint != nullptr && !parameter.fingerprint->empty();
    const bool same =
        known ? codes_fingerprint(found) == *parameter.fingerprint : same_values(parameter.read(), found, raised);
    if (!same) {
      throw Error(Exit::failed, parameter.name + ": what was read back from " + written.path().string() +
                                    " differs from what was written; is the disk sound? Run the same command again");
    }
    job.source->release(parameter.name);
    written.release(parameter.name);
    stop_if_interrupted();
  }
}

}  // namespace pare
