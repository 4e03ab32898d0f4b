// What `-o OUT` makes, by its name: a folder, or where the name ends in .gguf that file. What else a run has to say
// lies in the folder, or beside the file under its name.
//
//   -o small                   small/MODEL-Q4_K_M.gguf        small/recipe.yaml   small/report.json ...
//   -o small.gguf              small.gguf                     small.recipe.yaml   small.report.json ...
//   -o small.gguf --split 2GB  small-00001-of-00003.gguf ...  small.recipe.yaml   small.report.json ...
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "pare/pipeline/exporter.h"

namespace pare {

class ModelOutput {
 public:
  // UsageError for a .gguf name that only a part has (x-00001-of-00002.gguf). May be empty, for a plan alone.
  explicit ModelOutput(const std::filesystem::path& out);

  const std::filesystem::path& path() const { return path_; }  // OUT, without a slash at its end
  bool is_file() const { return is_file_; }
  std::string gguf_name() const;  // ExportJob::gguf_name: a file is named by OUT

  // gguf where OUT is a file, else `said`, which may be empty. UsageError when the two contradict each other.
  std::string format(const std::string& said) const;

  // "report.json": as it is called in the folder, or beside the file.
  std::string companion(const std::string& name) const;
  // Where that will lie.
  std::filesystem::path place_of(const std::string& companion_name) const;

  // For OutputFolder: the files that are to appear, the model's last, so that it is there when all else is. Empty
  // where all of a folder is.
  std::vector<std::string> files(const ExportSizes& sizes, const std::vector<std::string>& companions) const;
  // What MODEL is called then: the folder, the file, or its first part.
  std::filesystem::path model(const ExportSizes& sizes) const;

 private:
  std::filesystem::path path_;
  bool is_file_ = false;
};

// "report.json" of the run that made this .gguf file, or part of one, where it named it so.
std::filesystem::path companion_of(const std::filesystem::path& gguf, const std::string& name);

}  // namespace pare
