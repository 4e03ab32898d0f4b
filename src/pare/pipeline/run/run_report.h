// What a run says when it is done: report.json's object and the table on the terminal.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "pare/pipeline/plan.h"
#include "pare/pipeline/run/calibration.h"
#include "pare/pipeline/run/compress.h"
#include "pare/weights/model_files.h"

namespace pare {

struct RunFacts {
  const CompressOptions& options;
  std::filesystem::path result;  // what MODEL is called from now on
  std::filesystem::path page;    // report.html
  const Recipe& recipe;          // with the types that the run chose
  const ModelFiles& files;
  const Plan& plan;
  const CalibrationTokens& tokens;
  const nlohmann::json& evaluation;  // empty, or as in report.h
  const nlohmann::json& goal;
  const nlohmann::json& sample;  // null, or as in report.h
  std::string architecture;
  uint64_t result_bytes = 0;  // of the weight files, as they lie on the disk
  double seconds = 0;
  const nlohmann::json& phases;
};

// `records`: the journal's, one list of layers a block. The object that report.h describes.
nlohmann::json run_report(const RunFacts& facts, const std::vector<nlohmann::json>& records);

// Before and after, in columns; where the result and its page are.
std::string result_text(const RunFacts& facts, const nlohmann::json& report);

}  // namespace pare
