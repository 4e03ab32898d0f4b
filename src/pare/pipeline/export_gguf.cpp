#include "pare/pipeline/export_gguf.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/float_types.h"
#include "pare/base/interrupt.h"
#include "pare/base/part_name.h"
#include "pare/io/hf_folder.h"
#include "pare/pipeline/export_config.h"
#include "pare/pipeline/export_layout.h"
#include "pare/text/tokenizer.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/gguf_blocks.h"
#include "pare/weights/gguf_model.h"
#include "pare/weights/grouped_ints.h"
#include "pare/weights/sentence_modules.h"

namespace pare {
namespace {

constexpr const char* kRopeFreqs = "rope_freqs.weight";
constexpr const char* kFileType = "general.file_type";

// 32 codes as Q4_0 and Q4_1 hold them: element j in the low half of byte j, element j + 16 in the high one.
void pack_nibbles(const uint8_t* codes, std::byte* dst) {
  for (int64_t j = 0; j < kGgufGroup / 2; ++j)
    dst[j] = static_cast<std::byte>(codes[j] | (codes[j + kGgufGroup / 2] << 4));
}

std::byte* put_f16(std::byte* dst, float value) {
  const uint16_t bits = float_to_f16(value);
  std::memcpy(dst, &bits, sizeof bits);
  return dst + sizeof bits;
}

// value = d * q + m with m = -scale * zero, which must be a number that f16 has.
float exact_minimum(float scale, uint8_t zero, const std::string& name, int64_t row, int64_t block) {
  const float minimum = zero == 0 ? 0.0f : -scale * static_cast<float>(zero);
  if (f16_to_float(float_to_f16(minimum)) != minimum) {
    throw UnsupportedError(name + ": row " + std::to_string(row) + ", group " + std::to_string(block) +
                           ": scale times zero point is not exact in F16, so Q4_1 would change the weights. Compress "
                           "with --format gguf, which chooses such scales, or use --dequantize");
  }
  return minimum;
}

std::vector<std::byte> encode_ints(const Weight& weight, const GgmlType& type, const std::string& name) {
  const GroupedInts ints = plain_ints(weight);  // removed weights are the code of zero
  if (!ints.group_index.empty()) {
    throw UnsupportedError(name +
                           ": its inputs are grouped by a permutation, which gguf has no place for. Use --dequantize");
  }
  const int64_t rows = weight.rows(), cols = weight.cols(), blocks = cols / kGgufGroup;
  const int64_t row_bytes = packed_bytes(cols, ints.bits);
  std::vector<std::byte> out(static_cast<size_t>(rows * blocks * type.block_bytes));
  std::vector<uint8_t> codes(static_cast<size_t>(cols));
  std::byte* dst = out.data();
  for (int64_t r = 0; r < rows; ++r) {
    unpack_bits(std::span(ints.codes).subspan(static_cast<size_t>(r * row_bytes), static_cast<size_t>(row_bytes)),
                ints.bits, codes);
    for (int64_t b = 0; b < blocks; ++b, dst += type.block_bytes) {
      const size_t group = static_cast<size_t>(r * blocks + b);
      const uint8_t* block = codes.data() + b * kGgufGroup;
      std::byte* at = put_f16(dst, ints.scales[group]);
      if (ints.bits == 8) {
        for (int64_t j = 0; j < kGgufGroup; ++j) at[j] = static_cast<std::byte>(block[j] - 128);
      } else {
        if (!ints.symmetric) at = put_f16(at, exact_minimum(ints.scales[group], ints.zeros[group], name, r, b));
        pack_nibbles(block, at);
      }
    }
  }
  return out;
}

bool is_buffer(const std::string& name) {  // computed from the config by every loader
  return name.ends_with(".rotary_emb.inv_freq");
}

// llama.cpp's general.file_type; nothing for types it has no number for.
std::optional<uint64_t> file_type_number(std::string_view type) {
  static const std::map<std::string_view, uint64_t> kNumbers{
      {"F32", 0},     {"F16", 1},      {"Q4_0", 2},    {"Q4_1", 3},    {"Q8_0", 7},    {"Q5_0", 8},    {"Q5_1", 9},
      {"Q2_K", 10},   {"Q3_K_S", 11},  {"Q3_K_M", 12}, {"Q3_K_L", 13}, {"Q4_K_S", 14}, {"Q4_K_M", 15}, {"Q5_K_S", 16},
      {"Q5_K_M", 17}, {"Q2_K_S", 21},  {"Q3_K", 12},   {"Q4_K", 15},   {"Q5_K", 17},   {"Q6_K", 18},   {"IQ2_XXS", 19},
      {"IQ2_XS", 20}, {"IQ3_XXS", 23}, {"IQ1_S", 24},  {"IQ4_NL", 25}, {"IQ3_S", 26},  {"IQ2_S", 28},  {"IQ4_XS", 30},
      {"IQ1_M", 31},  {"BF16", 32},    {"IQ3_XS", 22}, {"IQ3_M", 27},  {"IQ2_M", 29},  {"TQ1_0", 36},  {"TQ2_0", 37},
      {"MXFP4", 38},  {"NVFP4", 39},   {"Q1_0", 40},   {"Q2_0", 41}};
  const auto found = kNumbers.find(type);
  return found == kNumbers.end() ? std::nullopt : std::optional(found->second);
}

// By the bytes of the blocks' matrices: what the file is called after.
std::string main_type(const std::vector<GgufTensorSpec>& tensors) {
  std::map<std::string, int64_t> elements;
  for (const GgufTensorSpec& tensor : tensors) {
    if (tensor.shape.size() == 2 && tensor.name.starts_with("blk.")) {
      elements[std::string(tensor.type->name)] += tensor.shape[0] * tensor.shape[1];
    }
  }
  const auto most = std::max_element(elements.begin(), elements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == elements.end() ? "F32" : most->first;
}

// The source in other files: it keeps its name and the mix that it says it is.
bool has_types_of(const std::vector<GgufTensorSpec>& tensors, const GgufParts* source) {
  return source != nullptr && std::all_of(tensors.begin(), tensors.end(), [&](const GgufTensorSpec& tensor) {
           const GgufTensor* stored = source->find(tensor.name);
           return stored != nullptr && stored->type == tensor.type;
         });
}

bool is_quantized(const GgmlType& type) {
  return type.block_elements > 1;
}

void set(GgufMetadata& metadata, const std::string& key, GgufValue value) {
  const auto found =
      std::find_if(metadata.begin(), metadata.end(), [&](const auto& entry) { return entry.first == key; });
  if (found == metadata.end()) {
    metadata.emplace_back(key, std::move(value));
  } else {
    found->second = std::move(value);
  }
}

// Everything that the source file says, but for what is about its storage.
GgufMetadata copied_metadata(const GgufFile& file) {
  GgufMetadata metadata;
  metadata.emplace_back("general.architecture", file.text("general.architecture"));
  for (const auto& [key, value] : file.header().metadata) {
    const bool of_storage = key == "general.alignment" || key == kFileType || key == "general.quantization_version" ||
                            key.starts_with("split.");
    if (!of_storage && key != "general.architecture") metadata.emplace_back(key, value);
  }
  return metadata;
}

// llama.cpp wants as many tokens as the embedding has rows.
void pad_tokens(GgufMetadata& metadata, uint64_t rows) {
  for (auto& [key, value] : metadata) {
    auto* array = std::get_if<GgufArray>(&value);
    if (array == nullptr) continue;
    if (auto* tokens = std::get_if<std::vector<std::string>>(&array->items); tokens && key == "tokenizer.ggml.tokens") {
      while (tokens->size() < rows) tokens->push_back("[PAD" + std::to_string(tokens->size()) + "]");
    }
    if (key == "tokenizer.ggml.token_type") {
      constexpr int kUnused = 5;
      if (auto* types = std::get_if<std::vector<int64_t>>(&array->items))
        types->resize(std::max(types->size(), rows), kUnused);
      if (auto* types = std::get_if<std::vector<uint64_t>>(&array->items))
        types->resize(std::max(types->size(), rows), kUnused);
    }
    if (key == "tokenizer.ggml.scores") {
      if (auto* scores = std::get_if<std::vector<double>>(&array->items))
        scores->resize(std::max(scores->size(), rows), -1000);
    }
  }
}

GgufMetadata made_metadata(const ExportJob& job) {
  const auto& config = job.source->config();
  GgufMetadata metadata = gguf_metadata_from_config(config);
  if (is_encoder(config)) {
    const auto pooling = sentence_modules(*job.source).pooling;
    if (pooling) set(metadata, "bert.pooling_type", static_cast<uint64_t>(*pooling));
  }
  set(metadata, "general.type", std::string("model"));
  set(metadata, "general.name", model_base_name(*job.source));
  for (auto& entry : Tokenizer::open(job.source->path()).to_gguf()) set(metadata, entry.first, std::move(entry.second));
  const GgufModel model = GgufModel::of_config(config);
  for (const ExportParameter& parameter : job.parameters) {
    if (model.gguf_name(parameter.name) == "token_embd.weight")
      pad_tokens(metadata, static_cast<uint64_t>(parameter.form.shape[0]));
  }
  return metadata;
}

// What Llama-3's rope scaling is to GGUF; from a GGUF as it stands there.
std::vector<float> divisors_for(const ExportJob& job) {
  const GgufParts* parts = job.source->gguf();
  if (parts == nullptr) return gguf_rope_freqs(job.source->config()).value_or(std::vector<float>());
  const GgufTensor* tensor = parts->find(kRopeFreqs);
  if (tensor == nullptr || tensor->type != ggml_type_named("F32")) return {};
  std::vector<float> divisors(tensor->bytes / sizeof(float));
  std::memcpy(divisors.data(), parts->file_of(kRopeFreqs)->bytes(*tensor).data(), tensor->bytes);
  return divisors;
}

}  // namespace

const GgmlType* gguf_type_for(const WeightForm& form) {
  if (form.kind == WeightForm::Kind::gguf_blocks) return form.masked ? nullptr : form.gguf_type;
  if (form.kind == WeightForm::Kind::dense) {
    if (form.shape.size() == 1) return ggml_type_named("F32");
    if (form.dtype == Dtype::f32) return ggml_type_named("F32");
    if (form.dtype == Dtype::f16) return ggml_type_named("F16");
    if (form.dtype == Dtype::bf16) return ggml_type_named("BF16");
    return nullptr;
  }
  if (form.kind == WeightForm::Kind::additive_codes) return nullptr;
  if (form.group != kGgufGroup || form.shape.size() != 2 || form.shape[1] % kGgufGroup != 0 || form.ternary ||
      form.scale_dtype != Dtype::f16) {
    return nullptr;
  }
  if (form.bits == 4) return ggml_type_named(form.symmetric ? "Q4_0" : "Q4_1");
  return form.bits == 8 && form.symmetric ? ggml_type_named("Q8_0") : nullptr;
}

std::string gguf_why_not(const WeightForm& form) {
  if (form.shape.empty() || form.shape.size() > 4 || form.elements() == 0) {
    return "gguf holds tensors of 1 to 4 dimensions, none of them 0";
  }
  if (gguf_type_for(form) != nullptr) return {};
  if (form.kind == WeightForm::Kind::dense)
    return "gguf holds F32, F16 and BF16, not " + std::string(name_of(form.dtype));
  if (form.kind == WeightForm::Kind::additive_codes) return "gguf has no codebooks; dequantize them first";
  if (form.kind == WeightForm::Kind::gguf_blocks) return "pruned GGUF blocks have no form; dequantize them first";
  if (form.ternary) return "gguf has no ternary blocks of 32";
  if (form.bits != 4 && form.bits != 8) {
    return "gguf has no " + std::to_string(form.bits) +
           "-bit blocks on a plain grid (4 and 8 bits are Q4_0, Q4_1, Q8_0)";
  }
  if (form.bits == 8 && !form.symmetric) return "gguf's 8-bit blocks, Q8_0, are symmetric";
  if (form.scale_dtype != Dtype::f16)
    return "gguf stores scales as F16, these are " + std::string(name_of(form.scale_dtype));
  if (form.group != kGgufGroup) return "gguf's blocks are groups of 32, these are of " + std::to_string(form.group);
  return "gguf's blocks hold 32 inputs, and " + std::to_string(form.shape[1]) + " are no multiple of that";
}

std::vector<std::byte> gguf_bytes(const Weight& weight, const WeightForm& form, const std::string& name) {
  const GgmlType& type = *gguf_type_for(form);
  if (std::holds_alternative<GroupedInts>(weight.base)) return encode_ints(weight, type, name);
  if (const auto* blocks = std::get_if<GgufBlocks>(&weight.base); blocks != nullptr && blocks->type == &type) {
    return {blocks->data.span().begin(), blocks->data.span().end()};
  }
  const Dtype dtype = *dtype_from_name(type.name);
  const Bytes values = dense_values(weight, dtype, name);
  return {values.span().begin(), values.span().end()};
}

GgufPlan plan_gguf(const ExportJob& job) {
  GgufPlan plan;
  std::vector<GgufTensorSpec> tensors;
  const GgufModel model = GgufModel::of_config(job.source->config());
  for (size_t i = 0; i < job.parameters.size(); ++i) {
    const ExportParameter& parameter = job.parameters[i];
    if (is_buffer(parameter.name)) continue;
    const std::string refusal = gguf_why_not(parameter.form);
    if (!refusal.empty()) throw UnsupportedError(parameter.name + ": " + refusal);
    const auto name = model.gguf_name(parameter.name);
    if (!name) {
      throw UnsupportedError(parameter.name + ": gguf has no name for this tensor in architecture " +
                             model.architecture + ". Use --format hf");
    }
    tensors.push_back({*name, gguf_type_for(parameter.form), parameter.form.shape});
    plan.parameters.push_back(i);
  }
  GgufMetadata metadata =
      job.source->gguf() != nullptr ? copied_metadata(job.source->gguf()->first()) : made_metadata(job);
  plan.rope_divisors = divisors_for(job);
  if (!plan.rope_divisors.empty()) {
    tensors.push_back({kRopeFreqs, ggml_type_named("F32"), {static_cast<int64_t>(plan.rope_divisors.size())}});
  }
  const std::string type = job.gguf_mix.empty() ? main_type(tensors) : job.gguf_mix;
  std::string name = model_base_name(*job.source) + "-" + type;
  if (has_types_of(tensors, job.source->gguf())) {
    name = without_part(job.source->path()).filename().string();
    if (job.source->gguf()->first().has(kFileType)) {
      set(metadata, kFileType, job.source->gguf()->first().header().metadata.at(kFileType));
    }
  } else if (const auto number = file_type_number(type)) {
    set(metadata, kFileType, *number);
  }
  if (std::any_of(tensors.begin(), tensors.end(), [](const auto& tensor) { return is_quantized(*tensor.type); })) {
    set(metadata, "general.quantization_version", uint64_t{2});
  }
  if (!job.quantized_by.empty()) set(metadata, "general.quantized_by", job.quantized_by);
  plan.files = split_gguf(job.gguf_name.empty() ? name : job.gguf_name, metadata, std::move(tensors), job.split_bytes);
  return plan;
}

namespace {

void write_parameter(const ExportParameter& parameter, const GgufModel& model, const std::string& tensor,
                     GgufWriter& writer) {
  const Weight weight = parameter.read();
  check_promise(parameter, weight);
  std::vector<std::byte> bytes = gguf_bytes(weight, parameter.form, parameter.name);
  if (model.is_raised_norm(parameter.name)) {
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    for (float& value : values) value += 1;
    std::memcpy(bytes.data(), values.data(), bytes.size());
  }
  if (const int64_t heads = model.permuted_heads(parameter.name); heads > 0) {
    bytes = reorder_rows(bytes, parameter.form.shape[0], heads, RowOrder::to_gguf);
  }
  writer.write(tensor, bytes);
}

}  // namespace

void write_gguf(const ExportJob& job, const GgufPlan& plan, const std::filesystem::path& folder,
                const std::function<void(const std::string&)>& progress) {
  const GgufModel model = GgufModel::of_config(job.source->config());
  auto next = plan.parameters.begin();
  for (const GgufPart& file : plan.files) {
    GgufWriter writer(folder / file.file_name, file.metadata, file.tensors);
    for (const GgufTensorSpec& tensor : file.tensors) {
      if (next == plan.parameters.end()) {
        writer.write(kRopeFreqs, std::as_bytes(std::span(plan.rope_divisors)));
        continue;
      }
      const ExportParameter& parameter = job.parameters[*next++];
      write_parameter(parameter, model, tensor.name, writer);
      job.source->release(parameter.name);
      if (progress) progress(parameter.name);
      stop_if_interrupted();
    }
    writer.finish();
  }
}

}  // namespace pare
