// The importance matrix that a recipe names, beside the plan that it is for: what weighs plain rounding into GGUF types
// without a calibration of one's own.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "pare/pipeline/plan.h"
#include "pare/weights/importance_matrix.h"

namespace pare {

class PlannedImportance {
 public:
  // Reads the file and holds it against the model. InputError with all that is wrong, in one list; UsageError where the
  // plan has a layer that cannot use it.
  PlannedImportance(const std::filesystem::path& file, const ModelFiles& model, const std::vector<LayerPlan>& layers);

  // Of a parameter by Hugging Face's name. Nothing: it has no entry, and is rounded without. The head's entry is that
  // of an embedding that is the head, too.
  const ImportanceMatrix::Entry* find(const std::string& parameter) const;
  const std::vector<std::string>& notes() const { return notes_; }
  const std::string& fingerprint() const { return fingerprint_; }

 private:
  ImportanceMatrix matrix_;
  std::map<std::string, std::string> names_;  // of parameters, to that of their entry
  std::vector<std::string> notes_;
  std::string fingerprint_;
};

}  // namespace pare
