#include "pare/pipeline/export_layout.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "pare/base/error.h"
#include "pare/base/part_name.h"
#include "pare/weights/aqlm_layout.h"
#include "pare/weights/bitmask_layout.h"
#include "pare/weights/compressed_tensors_layout.h"
#include "pare/weights/gptq_layout.h"
#include "pare/weights/pare_layout.h"

namespace pare {
namespace {

uint64_t bytes_of(const std::vector<TensorSpec>& tensors) {
  uint64_t total = 0;
  for (const TensorSpec& tensor : tensors) {
    int64_t elements = 1;
    for (const int64_t dim : tensor.shape) elements *= dim;
    total += static_cast<uint64_t>(elements * size_of(tensor.dtype));
  }
  return total;
}

BitmaskLayout layout_of(StoredAs as) {
  return as == StoredAs::bitmask_24 ? BitmaskLayout::sparse_24 : BitmaskLayout::sparse;
}

bool is_pruned_matrix(const WeightForm& form) {
  return bitmask_why_not(form, BitmaskLayout::sparse).empty();
}

// Its config.json has one scheme for all layers.
void require_one_aqlm_scheme(const ExportJob& job) {
  const ExportParameter* first = nullptr;
  for (const ExportParameter& parameter : job.parameters) {
    const WeightForm& form = parameter.form;
    if (form.kind != WeightForm::Kind::additive_codes) continue;
    if (first == nullptr) first = &parameter;
    const WeightForm& other = first->form;
    if (form.bits != other.bits || form.books != other.books || form.out_group != other.out_group ||
        form.group != other.group) {
      throw UnsupportedError(parameter.name + ": " + form.describe() + ", where " + first->name + " is " +
                             other.describe() + "; aqlm has one scheme for all layers. Write --format pare");
    }
  }
}

}  // namespace

std::vector<StoredAs> stored_as(const ExportJob& job) {
  // the older library, the only reader there is, knows one sparse format a model
  const bool all_24 = std::all_of(job.parameters.begin(), job.parameters.end(), [](const ExportParameter& parameter) {
    return !is_pruned_matrix(parameter.form) || bitmask_why_not(parameter.form, BitmaskLayout::sparse_24).empty();
  });
  const bool any_zeros =
      std::any_of(job.parameters.begin(), job.parameters.end(), [](const ExportParameter& parameter) {
        return parameter.form.kind == WeightForm::Kind::grouped_ints && !parameter.form.symmetric;
      });
  const bool v2 = job.gptq_version ? *job.gptq_version == GptqVersion::v2 : any_zeros;
  std::vector<StoredAs> result;
  for (const ExportParameter& parameter : job.parameters) {
    const WeightForm& form = parameter.form;
    const std::string refusal = why_not(form, job.format);
    if (!refusal.empty()) throw UnsupportedError(parameter.name + ": " + refusal);
    const bool ints = form.kind == WeightForm::Kind::grouped_ints;
    StoredAs as = StoredAs::dense;
    if (job.format == OutputFormat::gptq && ints) as = v2 ? StoredAs::gptq_v2 : StoredAs::gptq;
    if (job.format == OutputFormat::compressed_tensors && ints) as = StoredAs::packed;
    if (job.format == OutputFormat::compressed_tensors && is_pruned_matrix(form)) {
      as = all_24 ? StoredAs::bitmask_24 : StoredAs::bitmask;
    }
    if (job.format == OutputFormat::aqlm && form.kind == WeightForm::Kind::additive_codes) as = StoredAs::aqlm;
    const bool plain = form.kind == WeightForm::Kind::dense && !form.masked;
    if (job.format == OutputFormat::pare && !plain) as = StoredAs::pare;
    result.push_back(as);
  }
  if (job.format == OutputFormat::aqlm) require_one_aqlm_scheme(job);
  return result;
}

std::vector<TensorSpec> stored_tensors(const ExportParameter& parameter, StoredAs as) {
  switch (as) {
    case StoredAs::gptq:
    case StoredAs::gptq_v2:
      return gptq_tensors(parameter.form, module_of(parameter.name));
    case StoredAs::packed:
      return packed_tensors(parameter.form, module_of(parameter.name));
    case StoredAs::bitmask:
    case StoredAs::bitmask_24:
      return bitmask_tensors(parameter.form, parameter.name, layout_of(as));
    case StoredAs::aqlm:
      return aqlm_tensors(parameter.form, module_of(parameter.name));
    case StoredAs::pare:
      return pare_tensors(parameter.form, parameter.name);
    case StoredAs::dense:
      break;
  }
  return {{parameter.name, parameter.form.dtype, parameter.form.shape}};
}

void store(const ExportParameter& parameter, StoredAs as, const Weight& weight, const WriteTensor& write) {
  check_promise(parameter, weight);
  if (as == StoredAs::pare && form_of(weight).permuted != parameter.form.permuted) {
    throw Error(Exit::failed, parameter.name + ": planned with other groups of inputs. Please report this");
  }
  if (as == StoredAs::dense) {
    write(parameter.name, dense_values(weight, parameter.form.dtype, parameter.name).span());
    return;
  }
  const auto* ints = std::get_if<GroupedInts>(&weight.base);
  if (as == StoredAs::packed && !ints->group_index.empty()) {
    throw UnsupportedError(parameter.name +
                           ": its inputs are grouped by a permutation (act-order without static groups), which "
                           "compressed-tensors no longer has. Use --dequantize, or compress the original again");
  }
  const std::string module = module_of(parameter.name);
  const std::vector<StoredTensor> tensors = as == StoredAs::gptq      ? pack_gptq(weight, module, GptqVersion::v1)
                                            : as == StoredAs::gptq_v2 ? pack_gptq(weight, module, GptqVersion::v2)
                                            : as == StoredAs::packed  ? pack_packed(weight, module)
                                            : as == StoredAs::aqlm    ? pack_aqlm(weight, module)
                                            : as == StoredAs::pare
                                                ? pack_pare(weight, parameter.name)
                                                : pack_bitmask(weight, parameter.name, layout_of(as));
  for (const StoredTensor& tensor : tensors) write(tensor.name, tensor.data);
}

Bytes dense_values(const Weight& weight, Dtype dtype, const std::string& name) {
  const auto* dense = std::get_if<Dense>(&weight.base);
  if (dense != nullptr && dense->dtype == dtype && !weight.mask) return dense->data;
  const int64_t rows = weight.rows(), cols = weight.cols(), width = size_of(dtype);
  std::vector<std::byte> out(static_cast<size_t>(weight.elements() * width));
  const int64_t step =
      std::max<int64_t>(1, (int64_t{1} << 20) / std::max<int64_t>(cols, 1));  // 4 MB of floats at a time
  std::vector<float> values;
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    values.resize(static_cast<size_t>(count * cols));
    weight.unpack_rows(first, count, values);
    if (dtype == Dtype::f16) {
      for (const float value : values) {
        if (std::isfinite(value) && std::fabs(value) >= 65520.0f) {
          char text[32];
          std::snprintf(text, sizeof text, "%g", static_cast<double>(value));
          throw UnsupportedError(name + ": holds " + text + ", which F16 cannot (largest 65504). Write BF16 or F32");
        }
      }
    }
    from_float(dtype, values.data(), count * cols, out.data() + first * cols * width);
  }
  return Bytes(std::move(out));
}

void check_promise(const ExportParameter& parameter, const Weight& weight) {
  const WeightForm found = form_of(weight);
  const WeightForm& promised = parameter.form;
  const bool same_kind =
      found.kind == promised.kind && found.bits == promised.bits &&
      (promised.kind != WeightForm::Kind::grouped_ints ||
       (found.symmetric == promised.symmetric && found.group == promised.group &&
        found.scale_dtype == promised.scale_dtype)) &&
      (promised.kind != WeightForm::Kind::additive_codes ||
       (found.books == promised.books && found.out_group == promised.out_group && found.group == promised.group &&
        found.dtype == promised.dtype && found.scale_dtype == promised.scale_dtype));
  const bool same_mask = found.masked == promised.masked && (!promised.masked || found.kept == promised.kept);
  if (found.shape != promised.shape || !same_kind || !same_mask) {
    throw Error(Exit::failed, parameter.name + ": planned as " + promised.describe() + ", but is " + found.describe() +
                                  ". Please report this: the plan and the solver disagree");
  }
}

bool is_linear(const ExportParameter& parameter) {
  return parameter.form.shape.size() == 2 && parameter.name.ends_with(".weight") &&
         parameter.name.find("embed_tokens") == std::string::npos;
}

std::vector<Shard> deal_out(const ExportJob& job, const std::vector<StoredAs>& as) {
  std::vector<Shard> shards(1);
  uint64_t filled = 0;
  for (size_t i = 0; i < job.parameters.size(); ++i) {
    const std::vector<TensorSpec> tensors = stored_tensors(job.parameters[i], as[i]);
    const uint64_t bytes = bytes_of(tensors);
    if (!shards.back().parameters.empty() && filled + bytes > job.shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    filled += bytes;
    shards.back().parameters.push_back(i);
    shards.back().tensors.insert(shards.back().tensors.end(), tensors.begin(), tensors.end());
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    std::stable_sort(shards[i].tensors.begin(), shards[i].tensors.end(),
                     [](const TensorSpec& a, const TensorSpec& b) { return size_of(a.dtype) > size_of(b.dtype); });
    const auto number = static_cast<int64_t>(i + 1), count = static_cast<int64_t>(shards.size());
    if (job.format == OutputFormat::pare) {
      std::map<std::string, WeightForm> forms;
      for (const size_t index : shards[i].parameters) forms[job.parameters[index].name] = job.parameters[index].form;
      shards[i].metadata = pare_metadata(forms);
    }
    shards[i].file_name = (count > 1 ? part_stem("model", number, count) : "model") + ".safetensors";
  }
  return shards;
}

}  // namespace pare
