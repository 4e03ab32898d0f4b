#include "pare/pipeline/model_output.h"

#include "pare/base/error.h"
#include "pare/base/part_name.h"
#include "pare/base/paths.h"

namespace pare {

namespace fs = std::filesystem;

ModelOutput::ModelOutput(const fs::path& out)
    : path_(without_trailing_slash(out)), is_file_(path_.extension() == ".gguf") {
  if (is_file_ && part_name(path_.stem().string())) {
    throw UsageError(path_.string() + ": is what a part of a model is called. Give -o " + without_part(path_).string() +
                     ".gguf; with --split SIZE it becomes as many parts as it takes");
  }
}

std::string ModelOutput::gguf_name() const {
  return is_file_ ? path_.stem().string() : "";
}

std::string ModelOutput::format(const std::string& said) const {
  const std::string gguf(name_of(OutputFormat::gguf));
  if (!is_file_) return said;
  if (!said.empty() && said != gguf) throw UsageError(path_.string() + ": a .gguf file cannot be of format " + said);
  return gguf;
}

std::string ModelOutput::companion(const std::string& name) const {
  return is_file_ ? companion_of(path_, name).filename().string() : name;
}

fs::path ModelOutput::place_of(const std::string& companion_name) const {
  return is_file_ ? companion_of(path_, companion_name) : path_ / companion_name;
}

std::vector<std::string> ModelOutput::files(const ExportSizes& sizes,
                                            const std::vector<std::string>& companions) const {
  if (!is_file_) return {};
  std::vector<std::string> names;
  for (const std::string& name : companions) names.push_back(companion(name));
  names.insert(names.end(), sizes.file_names.rbegin(), sizes.file_names.rend());  // readers look for the first part
  return names;
}

fs::path ModelOutput::model(const ExportSizes& sizes) const {
  return is_file_ ? path_.parent_path() / sizes.file_names[0] : path_;
}

fs::path companion_of(const fs::path& gguf, const std::string& name) {
  fs::path place = without_part(gguf);
  place += "." + name;
  return place;
}

}  // namespace pare
