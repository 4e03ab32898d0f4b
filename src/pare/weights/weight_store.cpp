#include "pare/weights/weight_store.h"

#include "pare/base/error.h"
#include "pare/io/safetensors.h"
#include "pare/io/safetensors_writer.h"
#include "pare/weights/pare_layout.h"

namespace pare {
namespace {

std::map<std::string, WeightForm> forms_in(const SafetensorsFile& file) {
  auto forms = pare_forms(file.metadata(), file.path().string());
  if (!forms) throw InputError(file.path().string() + ": not a file of Pare's own (no pare_format in its metadata)");
  return *std::move(forms);
}

Weight read_weight(const SafetensorsFile& file, const std::string& name, const WeightForm& form) {
  return unpack_pare(form, name, [&](const std::string& part) {
    const TensorInfo* tensor = file.find(part);
    const std::string where = file.path().string() + ": " + part;
    if (tensor == nullptr) throw InputError(where + " is missing");
    if (!tensor->dtype) throw InputError(where + " is " + tensor->dtype_name);
    return StoredView{where, *tensor->dtype, tensor->shape, file.bytes(*tensor)};
  });
}

}  // namespace

void write_weight_store(const std::filesystem::path& path, const std::map<std::string, Weight>& weights) {
  std::map<std::string, WeightForm> forms;
  std::vector<TensorSpec> tensors;
  for (const auto& [name, weight] : weights) {
    const WeightForm& form = forms.emplace(name, form_of(weight)).first->second;
    for (TensorSpec& tensor : pare_tensors(form, name)) tensors.push_back(std::move(tensor));
  }
  SafetensorsWriter writer(path, std::move(tensors), pare_metadata(forms));
  for (const auto& [name, weight] : weights) {
    for (const StoredTensor& tensor : pack_pare(weight, name)) writer.write(tensor.name, tensor.data);
  }
  writer.finish();
}

std::map<std::string, Weight> read_weight_store(const std::filesystem::path& path) {
  const auto file = SafetensorsFile::open(path);
  std::map<std::string, Weight> weights;
  for (const auto& [name, form] : forms_in(file)) weights.emplace(name, read_weight(file, name, form));
  return weights;
}

Weight read_stored_weight(const std::filesystem::path& path, const std::string& name) {
  const auto file = SafetensorsFile::open(path);
  const auto forms = forms_in(file);
  const auto form = forms.find(name);
  if (form == forms.end()) throw InputError(path.string() + ": no weight " + name);
  return read_weight(file, name, form->second);
}

}  // namespace pare
