#include "pare/pipeline/convert.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <thread>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/pipeline/encoder_conversion.h"
#include "pare/pipeline/export_layout.h"
#include "pare/pipeline/gguf_fallback.h"
#include "pare/pipeline/model_linears.h"
#include "pare/weights/block_grids.h"
#include "pare/weights/encode/additive_fit.h"
#include "pare/weights/encode/encode_rows.h"
#include "pare/weights/regrid.h"

namespace pare {
namespace {

constexpr int kUsualBits = 4;
constexpr const char* kUsualCodebooks = "2x8";

// What becomes of one parameter.
struct Step {
  WeightForm form;
  std::string change = {};                  // "4-bit, groups of 128 as Q4_0"; nothing: as it is
  bool loses = false;                       // and values change
  std::function<Weight(Weight)> make = {};  // nothing: as it is
  bool dear = false;                        // seconds for a large matrix
};

WeightForm dense_form_of(const WeightForm& form, Dtype dtype) {
  WeightForm dense;
  dense.shape = form.shape;
  dense.dtype = dtype;
  dense.kept = dense.elements();
  return dense;
}

WeightForm blocks_form_of(const WeightForm& form, const GgmlType& type) {
  WeightForm blocks = dense_form_of(form, Dtype::bf16);
  blocks.kind = WeightForm::Kind::gguf_blocks;
  blocks.gguf_type = &type;
  return blocks;
}

bool dtype_holds(const Weight& weight, Dtype dtype) {
  const int64_t cols = weight.cols(), step = std::max<int64_t>(1, (int64_t{1} << 20) / std::max<int64_t>(cols, 1));
  std::vector<float> values, back;
  std::vector<std::byte> stored;
  for (int64_t first = 0; first < weight.rows(); first += step) {
    const int64_t count = std::min(step, weight.rows() - first);
    values.resize(static_cast<size_t>(count * cols));
    back.resize(values.size());
    stored.resize(values.size() * static_cast<size_t>(size_of(dtype)));
    weight.unpack_rows(first, count, values);
    from_float(dtype, values.data(), count * cols, stored.data());
    to_float(dtype, stored.data(), count * cols, back.data());
    for (size_t i = 0; i < values.size(); ++i) {
      if (back[i] != values[i] && !(std::isnan(back[i]) && std::isnan(values[i]))) return false;
    }
  }
  return true;
}

// Each number to the nearest on its block's grid; the same bytes for any number of threads.
Weight rounded_blocks(const Weight& weight, const GgmlType& type, const std::string& name) {
  const int64_t rows = weight.rows(), cols = weight.cols(), row_bytes = cols / type.block_elements * type.block_bytes;
  std::vector<std::byte> out(static_cast<size_t>(rows * row_bytes));
  const int64_t threads = std::clamp<int64_t>(std::thread::hardware_concurrency(), 1, (rows + 15) / 16);
  const auto encode = [&](int64_t begin, int64_t end) {
    const int64_t step = std::max<int64_t>(1, (int64_t{1} << 18) / std::max<int64_t>(cols, 1));
    std::vector<float> values;
    for (int64_t first = begin; first < end; first += step) {
      const int64_t count = std::min(step, end - first);
      values.resize(static_cast<size_t>(count * cols));
      weight.unpack_rows(first, count, values);
      encode_rows(
          type, values, cols, {},
          std::span(out).subspan(static_cast<size_t>(first * row_bytes), static_cast<size_t>(count * row_bytes)));
    }
  };
  std::vector<std::jthread> workers;
  for (int64_t t = 1; t < threads; ++t) workers.emplace_back(encode, rows * t / threads, rows * (t + 1) / threads);
  encode(0, rows / threads);
  workers.clear();
  Weight blocks{weight.shape, GgufBlocks{&type, Bytes(std::move(out))}, {}};
  check_weight(blocks, name);  // a NaN becomes a scale that is none
  return blocks;
}

// What a reader found out only from the data: GPTQ layers announced as asymmetric whose zeros are all in the middle.
Weight as_promised(Weight weight, const WeightForm& form) {
  auto* ints = std::get_if<GroupedInts>(&weight.base);
  if (ints != nullptr && ints->symmetric && form.kind == WeightForm::Kind::grouped_ints && !form.symmetric) {
    ints->symmetric = false;
    ints->zeros.assign(ints->scales.size(), static_cast<uint8_t>(1 << (ints->bits - 1)));
  }
  return weight;
}

class Converter {
 public:
  // `encoder`: where the source is one, and the target GGUF.
  Converter(const ModelFiles& source, const ConvertOptions& options, const EncoderConversion* encoder)
      : source_(source), options_(options), encoder_(encoder), fallbacks_(source) {
    if (options.format == OutputFormat::gguf) gguf_ = GgufModel::of_config(source.config());
    if (encoder == nullptr && (!options.type.empty() || options.bits > 0)) linears_.emplace(source);
    if (options.format != OutputFormat::gptq) return;
    for (const ParameterInfo& parameter : source.parameters()) {
      if (in_block(parameter)) common_ = std::gcd(common_, parameter.shape[1]);
    }
  }

  Step step_for(const ParameterInfo& parameter) {
    const WeightForm& form = parameter.form;
    if (form.kind == WeightForm::Kind::dense && !is_float(form.dtype)) return {form};
    if (options_.format == OutputFormat::gguf) return gguf_step(parameter);
    if (options_.format == OutputFormat::hf || options_.dequantize) return dense_step(parameter);
    if (options_.format == OutputFormat::aqlm) return codebook_step(parameter);
    if (options_.format == OutputFormat::pare && options_.bits == 0) return stored_step(parameter);
    return grid_step(parameter);
  }

  const GgufFallbacks& fallbacks() const { return fallbacks_; }
  // What the parameter is called in the job; only an encoder's differ from those of its files.
  std::string name_in_job(const std::string& stored) const {
    return encoder_ == nullptr ? stored : encoder_->name_of(stored).value_or(stored);
  }

 private:
  bool in_block(const ParameterInfo& parameter) const {
    return parameter.shape.size() == 2 && parameter.name.ends_with(".weight") &&
           parameter.name.find(".layers.") != std::string::npos;
  }

  // Values in full. A mask stays where the format has a place for it.
  Step dense_step(const ParameterInfo& parameter) const {
    const WeightForm& form = parameter.form;
    const bool dense = form.kind == WeightForm::Kind::dense;
    const bool as_stored = dense && parameter.format == form.describe();  // and not FP8 or the like
    const bool has_masks = options_.format == OutputFormat::compressed_tensors || options_.format == OutputFormat::pare;
    const bool keeps_mask = form.masked && dense && has_masks && !options_.dequantize;
    const bool vector_in_gguf =
        options_.format == OutputFormat::gguf && form.shape.size() == 1;  // F32 whatever is asked
    const bool table_in_f32 = gguf_ && gguf_->is_table_in_f32(name_in_job(parameter.name));
    const Dtype own = dense ? form.dtype : Dtype::f32;
    const Dtype dtype = table_in_f32 ? Dtype::f32 : vector_in_gguf ? own : options_.dtype.value_or(own);
    Step step{keeps_mask ? form : dense_form_of(form, dtype)};
    step.form.dtype = dtype;
    if (as_stored && dtype == form.dtype && (!form.masked || keeps_mask)) return step;
    const std::string word(name_of(dtype));
    step.make = [form = step.form, name = parameter.name](Weight weight) {
      std::optional<Mask> mask = form.masked ? weight.mask : std::nullopt;
      return Weight{weight.shape, Dense{form.dtype, dense_values(weight, form.dtype, name)}, std::move(mask)};
    };
    if (dtype != own) {
      const bool wider = dtype == Dtype::f32 && own != Dtype::f64;
      step.loses = !wider && (own == Dtype::f64 || !dtype_holds(source_.read(parameter.name), dtype));
    }
    const char* how = step.loses ? "" : ", exactly";
    if (!as_stored) {
      step.change = parameter.format + " dequantized to " + word + how;
    } else if (dtype != form.dtype) {
      step.change = std::string(name_of(form.dtype)) + (step.loses ? " rounded to " : " as ") + word + how;
    } else {
      step.change = "pruned, now with their zeros written out";
    }
    return step;
  }

  Step exact_blocks_step(const ParameterInfo& parameter, const GgmlType& type) const {
    Step step{blocks_form_of(parameter.form, type)};
    step.change = parameter.format + " as " + std::string(type.name);
    step.make = [&type](const Weight& weight) {
      const bool blocks = std::holds_alternative<GgufBlocks>(weight.base);
      std::optional<Weight> made = exact_blocks(blocks ? grid_of(weight) : weight, type);
      PARE_ASSERT(made.has_value());  // they did when the plan was made
      return std::move(*made);
    };
    return step;
  }

  Step rounded_blocks_step(const ParameterInfo& parameter, const GgmlType& type) const {
    Step step{blocks_form_of(parameter.form, type)};
    step.loses = true;
    step.dear = true;
    step.change = parameter.format + " rounded to " + std::string(type.name);
    step.make = [&type, name = parameter.name](const Weight& weight) { return rounded_blocks(weight, type, name); };
    return step;
  }

  Step gguf_step(const ParameterInfo& parameter) {
    const WeightForm& form = parameter.form;
    const GgmlType* wanted = wanted_type(parameter);
    const bool ints = form.kind == WeightForm::Kind::grouped_ints;
    if (wanted != nullptr) {
      if (form.kind == WeightForm::Kind::gguf_blocks && form.gguf_type == wanted) return {form};
      if (ints || is_plain_grid(form)) {
        const Weight weight = source_.read(parameter.name);
        if (exact_blocks(ints ? weight : grid_of(weight), *wanted)) return exact_blocks_step(parameter, *wanted);
      }
      return rounded_blocks_step(parameter, *wanted);
    }
    const bool as_numbers =
        form.kind == WeightForm::Kind::dense || form.kind == WeightForm::Kind::additive_codes || options_.dequantize;
    if (as_numbers) return dense_step(parameter);
    if (!ints) return {form};
    if (const GgmlType* type = exact_block_type(source_.read(parameter.name))) {
      return exact_blocks_step(parameter, *type);
    }
    const char* nearest = form.bits <= 4 ? "Q4_1" : form.bits == 5 ? "Q5_1" : "Q8_0";
    require_blocks_of_32(form.shape[1], parameter.name);
    return rounded_blocks_step(parameter, *ggml_type_named(nearest));
  }

  // Of the mix that was asked for; nothing for vectors and what no block of the model runs.
  const GgmlType* wanted_type(const ParameterInfo& parameter) {
    if (options_.type.empty() || parameter.shape.size() != 2) return nullptr;
    const auto place = encoder_ != nullptr ? encoder_->mix_place(parameter) : mix_place(parameter);
    if (!place) return nullptr;
    return fallbacks_.form_for(type_in_mix(options_.type, *place), parameter).gguf_type;
  }

  std::optional<MixPlace> mix_place(const ParameterInfo& parameter) const {
    if (const auto linear = linears_->find(parameter)) return linears_->place(linear->kind, linear->block);
    const std::string table = linears_->table_kind(parameter);
    return table.empty() ? std::nullopt : std::optional(linears_->place(table, 0));
  }

  // Pare's own container. What only the data shows of a grid is part of its form there.
  Step stored_step(const ParameterInfo& parameter) const {
    if (parameter.form.kind == WeightForm::Kind::dense) return dense_step(parameter);
    if (parameter.form.kind != WeightForm::Kind::grouped_ints) return {parameter.form};
    return {form_of(source_.read(parameter.name))};
  }

  // AQLM.
  Step codebook_step(const ParameterInfo& parameter) const {
    const WeightForm& form = parameter.form;
    const bool additive = form.kind == WeightForm::Kind::additive_codes;
    const bool rounds = linears_ && linears_->find(parameter);
    if (additive && !rounds) return {form};
    const bool ints_or_blocks = form.kind != WeightForm::Kind::dense && !additive;
    if (!rounds && !(ints_or_blocks && in_block(parameter))) return dense_step(parameter);
    const AqlmScheme scheme = *aqlm_scheme_named(options_.type.empty() ? kUsualCodebooks : options_.type);
    if (const std::string refusal = additive_why_not(scheme, form.shape); !refusal.empty()) {
      throw UnsupportedError(parameter.name + ": " + refusal + ". Choose another --type, such as 2x8");
    }
    Step step{dense_form_of(form, Dtype::f16)};
    step.form.kind = WeightForm::Kind::additive_codes;
    step.form.bits = scheme.bits;
    step.form.books = scheme.books;
    step.form.group = scheme.in_group;
    step.form.scale_dtype = Dtype::f16;
    step.loses = true;
    step.dear = true;
    step.change = parameter.format + " rounded to " + step.form.describe();
    step.make = [scheme, name = parameter.name](const Weight& weight) { return additive_codes(weight, scheme, name); };
    return step;
  }

  // GPTQ and compressed-tensors.
  Step grid_step(const ParameterInfo& parameter) {
    const WeightForm& form = parameter.form;
    if (options_.bits > 0 && linears_->find(parameter)) return rounded_grid_step(parameter);
    if (options_.format == OutputFormat::pare) return stored_step(parameter);
    const bool ints = form.kind == WeightForm::Kind::grouped_ints;
    if (form.kind == WeightForm::Kind::dense || form.kind == WeightForm::Kind::additive_codes) {
      return dense_step(parameter);
    }
    if (!ints && !in_block(parameter)) return dense_step(parameter);  // embeddings are dense in these formats
    if (!ints && !is_plain_grid(form)) return rounded_grid_step(parameter);
    const WeightForm grid = ints ? form : grid_form(form);
    const bool packed = options_.format == OutputFormat::compressed_tensors;
    const std::string change = ints ? "" : parameter.format + " as " + grid.describe();
    if (why_not(grid, options_.format).empty()) {
      if (!ints) return {grid, change, false, grid_of};
      const bool permuted = packed && is_permuted(parameter);
      if (!permuted) return {form, "", false, [form](Weight weight) { return as_promised(std::move(weight), form); }};
      return rounded_grid_step(parameter);
    }
    return widened_step(parameter, grid).value_or(rounded_grid_step(parameter));
  }

  bool is_permuted(const ParameterInfo& parameter) const {
    const Weight weight = source_.read(parameter.name);
    return !std::get<GroupedInts>(weight.base).group_index.empty();
  }

  // Codes of more bits, or scales of the format's own type where that holds them.
  std::optional<Step> widened_step(const ParameterInfo& parameter, const WeightForm& grid) const {
    Weight weight = source_.read(parameter.name);
    if (std::holds_alternative<GgufBlocks>(weight.base)) weight = grid_of(weight);
    const Dtype scale_dtype = options_.format == OutputFormat::gptq ? Dtype::f16 : grid.scale_dtype;
    for (const int bits : {grid.bits, 3, 4, 8}) {
      if (bits < grid.bits) continue;
      const auto wide = widened_ints(weight, bits, scale_dtype);
      if (!wide) return std::nullopt;
      const bool permuted = !std::get<GroupedInts>(wide->base).group_index.empty();
      const WeightForm form = form_of(*wide);
      if (!why_not(form, options_.format).empty()) continue;
      if (permuted && options_.format == OutputFormat::compressed_tensors) return std::nullopt;
      std::string change = parameter.format + " as " + form.describe();
      if (form.scale_dtype != grid.scale_dtype) change += ", scales as " + std::string(name_of(form.scale_dtype));
      return Step{form, change, false, [bits, scale_dtype](const Weight& stored) {
                    const bool blocks = std::holds_alternative<GgufBlocks>(stored.base);
                    auto made = widened_ints(blocks ? grid_of(stored) : stored, bits, scale_dtype);
                    PARE_ASSERT(made.has_value());
                    return std::move(*made);
                  }};
    }
    return std::nullopt;
  }

  Step rounded_grid_step(const ParameterInfo& parameter) const {
    const int64_t cols = parameter.form.shape[1];
    Step step{dense_form_of(parameter.form, Dtype::f16)};  // the type to compute in, as its scales
    step.form.kind = WeightForm::Kind::grouped_ints;
    step.form.bits = options_.bits > 0 ? options_.bits : kUsualBits;
    step.form.group = std::min(cols, options_.group > 0 ? options_.group : usual_group(cols));
    step.form.scale_dtype = Dtype::f16;
    step.loses = true;
    step.change = parameter.format + " rounded to " + step.form.describe();
    step.make = [form = step.form, name = parameter.name](const Weight& weight) {
      return rounded_ints(weight, form.bits, form.group, form.scale_dtype, name);
    };
    return step;
  }

  int64_t usual_group(int64_t cols) const {
    if (options_.group == -1) return cols;
    for (const int64_t group : {128, 64, 32}) {
      if ((common_ > 0 ? common_ : cols) % group == 0) return group;
    }
    return cols;
  }

  const ModelFiles& source_;
  const ConvertOptions& options_;
  const EncoderConversion* encoder_;
  std::optional<GgufModel> gguf_;
  std::optional<ModelLinears> linears_;
  GgufFallbacks fallbacks_;
  int64_t common_ =
      0;  // what divides the inputs of all layers, for transformers, which reads GPTQ of one group size only
};

// A kind of change, and to which tensors.
struct Changed {
  int count = 0;
  std::string first;
};

[[noreturn]] void refuse(const std::map<std::string, Changed>& losses, const ConvertOptions& options) {
  std::string message = "as " + std::string(name_of(options.format)) +
                        (options.type.empty() ? "" : " of type " + options.type) + " values would change:";
  size_t shown = 0;
  for (const auto& [change, changed] : losses) {
    if (++shown > 8) {
      message += "\n  and " + std::to_string(losses.size() - 8) + " more kinds";
      break;
    }
    message += "\n  " + std::to_string(changed.count) + " x " + change + " (" + changed.first +
               (changed.count > 1 ? " ...)" : ")");
  }
  message += "\nGive --lossy to write them so, ";
  message +=
      options.format == OutputFormat::aqlm ? "codebooks fitted without calibration" : "each number rounded by itself";
  if (!options.dequantize && options.type.empty() && !options.dtype && options.bits == 0) {
    message += "; --dequantize to write these dense, exactly";
  } else if (!options.type.empty()) {
    if (options.format == OutputFormat::gguf) {
      message += "; `pare compress --type " + options.type + "` rounds with less error";
    }
  }
  throw UnsupportedError(message + ".");
}

// Nothing for decoders, and for an encoder that stays a folder.
std::optional<EncoderConversion> encoder_conversion(const ModelFiles& source, const ConvertOptions& options) {
  if (!is_encoder(source.config()) || options.format == OutputFormat::hf) return std::nullopt;
  if (options.format != OutputFormat::gguf) {
    throw UnsupportedError("an encoder is written as hf and gguf, not as " + std::string(name_of(options.format)));
  }
  EncoderConversion encoder(source);
  if (!encoder.left_out().empty() && encoder.leaving_out_loses() && !options.lossy) {
    throw UnsupportedError("as gguf " + std::to_string(encoder.left_out().size()) + " tensors would be lost (" +
                           encoder.left_out().front() +
                           " ...): GGUF's BERT ends with the last block, and no modules.json says that no more is "
                           "needed.\nGive --lossy to leave them out.");
  }
  return encoder;
}

}  // namespace

Conversion plan_conversion(const ModelFiles& source, const ConvertOptions& options) {
  const auto encoder = encoder_conversion(source, options);
  Conversion conversion;
  ExportJob& job = conversion.job;
  job.source = &source;
  job.format = options.format;
  job.gguf_mix = options.type;
  job.gguf_name = options.gguf_name;
  job.split_bytes = options.split_bytes;
  job.gptq_version = options.gptq_version;
  std::map<std::string, Changed> changes, losses;
  std::vector<std::string> refused;
  Converter converter(source, options, encoder ? &*encoder : nullptr);
  for (const ParameterInfo& parameter : source.parameters()) {
    if (encoder && !encoder->name_of(parameter.name)) continue;
    if (!parameter.readable) throw UnsupportedError(parameter.name + ": " + parameter.why_not);
    Step step = converter.step_for(parameter);
    const std::string refusal = why_not(step.form, options.format);
    if (!refusal.empty()) refused.push_back(parameter.name + " (" + parameter.format + "): " + refusal);
    if (!step.change.empty()) {
      Changed& changed = (step.loses ? losses : changes)[step.change];
      if (changed.count++ == 0) changed.first = parameter.name;
    }
    const auto fingerprint = step.dear ? std::make_shared<std::string>() : nullptr;
    job.parameters.push_back({converter.name_in_job(parameter.name), step.form,
                              [&source, name = parameter.name, make = std::move(step.make), fingerprint] {
                                Weight weight = source.read(name);
                                if (make) weight = make(std::move(weight));
                                if (fingerprint) *fingerprint = codes_fingerprint(weight);
                                return weight;
                              },
                              fingerprint});
    source.release(parameter.name);
    stop_if_interrupted();
  }
  if (!refused.empty()) {
    std::string message = "cannot be written as " + std::string(name_of(options.format)) + ":";
    for (size_t i = 0; i < refused.size() && i < 3; ++i) message += "\n  " + refused[i];
    if (refused.size() > 3) message += "\n  and " + std::to_string(refused.size() - 3) + " more";
    throw UnsupportedError(message + "\nAdd --dequantize to write these dense, or choose another --format.");
  }
  if (!losses.empty() && !options.lossy) refuse(losses, options);
  for (const auto* kinds : {&changes, &losses}) {
    for (const auto& [change, changed] : *kinds) {
      conversion.changes.push_back(std::to_string(changed.count) + " x " + change);
    }
  }
  const bool only_moved =
      source.gguf() != nullptr && options.format == OutputFormat::gguf && conversion.changes.empty();
  if (only_moved) job.quantized_by.clear();
  conversion.notes = source.notes();
  for (std::string& note : converter.fallbacks().notes()) conversion.notes.push_back(std::move(note));
  if (encoder) {
    for (std::string& note : encoder->notes()) conversion.notes.push_back(std::move(note));
  }
  return conversion;
}

}  // namespace pare
