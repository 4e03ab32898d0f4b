#include "pare/pipeline/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "pare/base/error.h"
#include "pare/base/float_types.h"
#include "pare/base/interrupt.h"
#include "pare/pipeline/export_gguf.h"
#include "pare/pipeline/export_layout.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/gguf_model.h"

namespace pare {
namespace {

WeightForm dense_form(const WeightForm& form, Dtype dtype) {
  WeightForm dense;
  dense.shape = form.shape;
  dense.dtype = dtype;
  dense.kept = dense.elements();
  return dense;
}

// What a parameter becomes; `why` says so when that is a change.
WeightForm target_form(const WeightForm& form, const ConvertOptions& options, std::string& change) {
  const bool dense = form.kind == WeightForm::Kind::dense;
  if (dense && !is_float(form.dtype)) return form;
  if (dense) {
    const bool keeps_mask = form.masked && options.format == OutputFormat::compressed_tensors && !options.dequantize;
    WeightForm target = keeps_mask ? form : dense_form(form, form.dtype);
    target.dtype = options.dtype.value_or(form.dtype);
    if (form.masked && !keeps_mask) change = "pruned, now with their zeros written out";
    if (target.dtype != form.dtype) {
      change = std::string(name_of(form.dtype)) + " rounded to " + std::string(name_of(target.dtype));
    }
    return target;
  }
  if (!options.dequantize && options.format != OutputFormat::hf) {
    if (why_not(form, options.format).empty()) return form;
    if (is_plain_grid(form) && why_not(grid_form(form), options.format).empty()) {
      change = form.describe() + " as " + grid_form(form).describe();
      return grid_form(form);
    }
    return form;  // refused later, with all others
  }
  const Dtype dtype = options.dtype.value_or(Dtype::f32);
  change =
      form.describe() + " dequantized to " + std::string(name_of(dtype)) + (dtype == Dtype::f32 ? ", exactly" : "");
  return dense_form(form, dtype);
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

Weight read_as(const ModelFiles& source, const std::string& name, const WeightForm& form) {
  Weight weight = source.read(name);
  if (form.kind == WeightForm::Kind::grouped_ints && std::holds_alternative<GgufBlocks>(weight.base)) {
    return grid_of(weight);
  }
  if (form.kind == WeightForm::Kind::dense) {
    const auto* dense = std::get_if<Dense>(&weight.base);
    const bool as_it_is = dense != nullptr && dense->dtype == form.dtype && (!weight.mask || form.masked);
    if (as_it_is) return weight;
    std::optional<Mask> mask = form.masked ? weight.mask : std::nullopt;
    return {weight.shape, Dense{form.dtype, dense_values(weight, form.dtype, name)}, std::move(mask)};
  }
  return as_promised(std::move(weight), form);
}

}  // namespace

bool is_plain_grid(const WeightForm& form) {
  return form.kind == WeightForm::Kind::gguf_blocks && form.gguf_type != nullptr &&
         (form.gguf_type->name == "Q4_0" || form.gguf_type->name == "Q8_0");
}

WeightForm grid_form(const WeightForm& blocks) {
  WeightForm form;
  form.shape = blocks.shape;
  form.kind = WeightForm::Kind::grouped_ints;
  form.bits = blocks.gguf_type->name == "Q4_0" ? 4 : 8;
  form.group = kGgufGroup;
  form.kept = form.elements();
  return form;
}

Weight grid_of(const Weight& weight) {
  const auto& blocks = std::get<GgufBlocks>(weight.base);
  const WeightForm form = grid_form(form_of(weight));
  GroupedInts ints{.bits = form.bits, .group = kGgufGroup, .symmetric = true, .scale_dtype = Dtype::f16};
  const int64_t rows = weight.rows(), cols = weight.cols(), row_bytes = packed_bytes(cols, ints.bits);
  ints.codes.resize(static_cast<size_t>(rows * row_bytes));
  ints.scales.reserve(static_cast<size_t>(rows * cols / kGgufGroup));
  std::vector<uint8_t> codes(static_cast<size_t>(cols));
  const auto* src = reinterpret_cast<const uint8_t*>(blocks.data.span().data());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; c += kGgufGroup, src += blocks.type->block_bytes) {
      uint16_t scale = 0;
      std::memcpy(&scale, src, sizeof scale);
      ints.scales.push_back(f16_to_float(scale));
      const uint8_t* packed = src + sizeof scale;
      for (int64_t j = 0; j < kGgufGroup; ++j) {
        const int code = ints.bits == 8 ? packed[j] ^ 0x80 : (packed[j % 16] >> (j / 16 * 4)) & 15;
        codes[static_cast<size_t>(c + j)] = static_cast<uint8_t>(code);
      }
    }
    pack_bits(codes, ints.bits,
              std::span(ints.codes).subspan(static_cast<size_t>(r * row_bytes), static_cast<size_t>(row_bytes)));
  }
  return {weight.shape, std::move(ints), {}};
}

Conversion plan_conversion(const ModelFiles& source, const ConvertOptions& options) {
  Conversion conversion;
  ExportJob& job = conversion.job;
  job.source = &source;
  job.format = options.format;
  std::map<std::string, int> changes;
  std::vector<std::string> refused;
  for (const ParameterInfo& parameter : source.parameters()) {
    if (!parameter.readable) throw UnsupportedError(parameter.name + ": " + parameter.why_not);
    std::string change;
    const WeightForm form = target_form(parameter.form, options, change);
    const std::string refusal = why_not(form, options.format);
    if (!refusal.empty()) refused.push_back(parameter.name + " (" + parameter.format + "): " + refusal);
    if (!change.empty()) ++changes[change];
    job.parameters.push_back(
        {parameter.name, form, [&source, name = parameter.name, form] { return read_as(source, name, form); }});
  }
  if (!refused.empty()) {
    std::string message = "cannot be written as " + std::string(name_of(options.format)) + " without changing values:";
    for (size_t i = 0; i < refused.size() && i < 3; ++i) message += "\n  " + refused[i];
    if (refused.size() > 3) message += "\n  and " + std::to_string(refused.size() - 3) + " more";
    throw UnsupportedError(message +
                           "\nAdd --dequantize to write these dense, or compress the original with this format.");
  }
  for (const auto& [change, count] : changes) conversion.changes.push_back(std::to_string(count) + " x " + change);
  return conversion;
}

}  // namespace pare
