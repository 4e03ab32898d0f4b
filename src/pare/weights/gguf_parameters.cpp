#include "pare/base/error.h"
#include "pare/weights/gguf_blocks.h"
#include "pare/weights/gguf_model.h"
#include "pare/weights/model_source.h"

namespace pare {
namespace {

std::optional<Dtype> plain_dtype(const GgmlType& type) {
  if (type.name == "F32") return Dtype::f32;
  if (type.name == "F16") return Dtype::f16;
  if (type.name == "BF16") return Dtype::bf16;
  if (type.name == "F64") return Dtype::f64;
  return std::nullopt;
}

Weight read_tensor(const GgufFile& file, const GgufTensor& tensor, const GgufModel& model, const std::string& name) {
  Bytes data = Bytes::view(file.bytes(tensor), file.mapping());
  if (const int64_t heads = model.permuted_heads(name); heads > 0) {
    const int64_t rows = tensor.shape.front();
    if (rows % heads != 0 || rows / heads % 2 != 0) {
      throw InputError(file.path().string() + ": " + tensor.name + " has " + std::to_string(rows) + " rows, which " +
                       std::to_string(heads) + " heads do not share evenly");
    }
    data = Bytes(reorder_rows(data.span(), rows, heads, RowOrder::to_hf));
  }
  if (const auto dtype = plain_dtype(*tensor.type)) {
    Weight weight{tensor.shape, Dense{*dtype, std::move(data)}, {}};
    if (!model.is_raised_norm(name)) return weight;
    std::vector<float> values = weight.unpack();
    for (float& value : values) value -= 1;
    return dense_weight(tensor.shape, Dtype::f32, values);
  }
  return Weight{tensor.shape, GgufBlocks{tensor.type, std::move(data)}, {}};
}

std::vector<SourceParameter> parameters_of(const GgufFile& file, const GgufModel& model) {
  std::vector<SourceParameter> parameters;
  for (const GgufTensor& tensor : file.header().tensors) {
    if (tensor.name == "rope_freqs.weight") continue;  // part of the config
    SourceParameter parameter;
    ParameterInfo& info = parameter.info;
    const auto name = model.hf_name(tensor.name);
    info.name = name.value_or(tensor.name);
    info.shape = tensor.shape;
    info.bytes = tensor.bytes;
    info.format = tensor.type->name;
    info.form.shape = tensor.shape;
    if (const auto dtype = plain_dtype(*tensor.type)) {
      info.form.dtype = name && model.is_raised_norm(*name) ? Dtype::f32 : *dtype;
    } else {
      info.form.kind = WeightForm::Kind::gguf_blocks;
      info.form.gguf_type = tensor.type;
    }
    info.form.kept = info.form.elements();
    parameter.stored = {tensor.name};
    if (!name) {
      info.readable = false;
      info.why_not = "a tensor that architecture " + model.architecture + " does not have";
    } else if (!plain_dtype(*tensor.type) && !can_decode(*tensor.type)) {
      info.readable = false;
      info.why_not = "GGUF type " + std::string(tensor.type->name) + " cannot be decoded yet";
    } else {
      parameter.read = [&file, &tensor, model, hf = *name] { return read_tensor(file, tensor, model, hf); };
    }
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

}  // namespace

std::vector<SourceParameter> gguf_parameters(const GgufParts& parts) {
  const GgufModel model = GgufModel::of(parts.first());
  std::vector<SourceParameter> parameters;
  for (const GgufFile& file : parts.files()) {
    for (SourceParameter& parameter : parameters_of(file, model)) parameters.push_back(std::move(parameter));
  }
  return parameters;
}

}  // namespace pare
