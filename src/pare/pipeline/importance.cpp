#include "pare/pipeline/importance.h"

#include <algorithm>
#include <set>

#include "pare/base/error.h"
#include "pare/base/fingerprint.h"
#include "pare/io/mapped_file.h"
#include "pare/weights/decoder_names.h"
#include "pare/weights/gguf_model.h"

namespace pare {
namespace {

void refuse_other_methods(const std::vector<LayerPlan>& layers) {
  for (const LayerPlan& layer : layers) {
    const bool blocks = layer.form.kind == WeightForm::Kind::gguf_blocks;
    if (blocks && layer.wish.method == "rtn") continue;
    std::string why = "it weighs plain rounding into GGUF types. Use --method rtn with --type, or leave --imatrix out";
    if (layer.wish.method == "gptq") {
      why =
          "gptq needs how all inputs of a layer go together, of which the matrix has each input by itself. Leave "
          "--imatrix out (better, and needs --calib), or use --method rtn with --type";
    }
    throw UsageError(layer.name + ": --imatrix is not for " + layer.wish.method + (blocks ? "" : " without a type") +
                     ": " + why);
  }
}

[[noreturn]] void refuse(const std::filesystem::path& file, const std::filesystem::path& model,
                         const std::vector<std::string>& problems) {
  std::string text = file.string() + ": not an importance matrix to round " + model.string() + " with:";
  for (const std::string& problem : problems) text += "\n  " + problem;
  throw InputError(text + "\nOne that fits: pare calibrate " + model.string() + " -o imatrix.gguf --calib TEXT");
}

}  // namespace

PlannedImportance::PlannedImportance(const std::filesystem::path& file, const ModelFiles& model,
                                     const std::vector<LayerPlan>& layers) {
  refuse_other_methods(layers);
  const auto mapped = MappedFile::open(file);
  mapped->check_not_shrunk();
  matrix_ = parse_importance_matrix(mapped->bytes(), file.string());
  fingerprint_ = Fingerprint().add(mapped->bytes()).hex();

  std::set<std::string> rounded;
  for (const LayerPlan& layer : layers) {
    if (!layer.is_table()) rounded.insert(layer.name + ".weight");  // llama-imatrix leaves tables out
  }
  const GgufModel gguf = GgufModel::of_config(model.config());
  std::vector<WeighedTensor> tensors;
  for (const ParameterInfo& parameter : model.parameters()) {
    const auto name = gguf.gguf_name(parameter.name);
    if (!name || parameter.shape.size() != 2) continue;
    names_[parameter.name] = *name;
    tensors.push_back({*name, parameter.shape[1], 1, rounded.contains(parameter.name)});
  }
  const DecoderNames names = decoder_names(model).value_or(DecoderNames{});
  const std::string embedding = names.prefix + "embed_tokens.weight", head = "output.weight";
  if (model.find(names.head + ".weight") == nullptr && matrix_.entries.contains(head)) {  // tied
    tensors.push_back({head, model.find(embedding)->shape[1], 1, false});
    if (!matrix_.entries.contains(names_[embedding])) names_[embedding] = head;
  }
  ImportanceCheck check = check_importance(matrix_, tensors);
  if (!check.problems.empty()) refuse(file, model.path(), check.problems);
  notes_ = std::move(check.notes);
  std::string text = "rounded by the importance matrix " + file.string();
  if (matrix_.chunks > 0) text += ", of " + std::to_string(matrix_.chunks) + " windows";
  if (matrix_.chunks > 0 && matrix_.chunk_tokens > 0) text += " of " + std::to_string(matrix_.chunk_tokens) + " tokens";
  notes_.push_back(std::move(text));
}

const ImportanceMatrix::Entry* PlannedImportance::find(const std::string& parameter) const {
  const auto name = names_.find(parameter);
  if (name == names_.end()) return nullptr;
  const auto entry = matrix_.entries.find(name->second);
  return entry == matrix_.entries.end() ? nullptr : &entry->second;
}

}  // namespace pare
