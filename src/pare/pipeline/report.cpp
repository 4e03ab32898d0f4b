#include "pare/pipeline/report.h"

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/pipeline/model_output.h"
#include "pare/pipeline/report_page.h"

namespace pare {

std::string report_html(const std::vector<nlohmann::json>& reports) {
  std::vector<Field> fields;
  for (const auto& report : reports) fields.emplace_back(report);
  PARE_ASSERT(!fields.empty());
  return fields.size() == 1 ? one_run_page(fields[0]) : comparison_page(fields);
}

std::string report_text(const std::vector<nlohmann::json>& reports) {
  std::vector<Field> fields;
  for (const auto& report : reports) fields.emplace_back(report);
  return runs_text(fields);
}

nlohmann::json read_report(const std::filesystem::path& path) {
  std::error_code error;
  const bool folder = std::filesystem::is_directory(path, error);
  const bool model = !folder && path.extension() == ".gguf";
  const std::filesystem::path file = folder ? path / "report.json" : model ? companion_of(path, "report.json") : path;
  if (!std::filesystem::exists(file, error)) {
    throw InputError(
        path.string() +
        (folder  ? ": no report.json in this folder. An output folder of `pare compress` has one; give that folder or "
                   "the file itself."
         : model ? ": no " + file.filename().string() + " beside it, which `pare compress -o` would have put there."
                 : ": no such file or folder."));
  }
  nlohmann::json report = read_json_file(file);
  if (!report.is_object()) {
    throw InputError(file.string() + ": not a report: it holds " + report.type_name() +
                     ", expected an object as `pare compress` writes it.");
  }
  return report;
}

}  // namespace pare
