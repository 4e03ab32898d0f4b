#include "pare/cli/model_report.h"

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/pipeline/model_output.h"
#include "pare/pipeline/report.h"
#include "pare/pipeline/report_values.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

std::string facts_of(const nlohmann::json& report) {
  const Field root(report);
  const Field result = root["result"], evaluation = root["evaluation"];
  nlohmann::json facts = nlohmann::json::object();
  const auto number = [&](const char* name, Field field) {
    if (const auto value = field.number()) facts[name] = *value;
  };
  const auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) facts[name] = value;
  };
  text("base", last_component(root["model"]["path"].text()));
  number("base_bytes", root["model"]["bytes"]);
  number("bytes", result["bytes"]);
  number("bits_per_weight", result["bits_per_weight"]);
  number("sparsity", result["sparsity"]);
  text("text", text_name(evaluation["text"].text()));
  number("base_perplexity", evaluation["before"]["perplexity"]);
  number("perplexity", evaluation["after"]["perplexity"]);
  number("kl", evaluation["kl"]);
  number("top1", evaluation["top1"]);
  return dump_json(facts);
}

}  // namespace

std::optional<std::string> model_report(const ModelFiles& model, std::string* warning) {
  std::error_code error;
  fs::path file = companion_of(model.path(), "report.json");
  if (model.gguf() == nullptr) {
    file = model.path() / "report.json";
  } else if (!fs::exists(file, error)) {
    file = fs::absolute(model.path()).parent_path() / "report.json";
  }
  if (!fs::exists(file, error)) return std::nullopt;
  try {
    const nlohmann::json report = read_report(file);
    const auto said = Field(report)["result"]["bytes"].number();
    const uint64_t there = model.bytes();
    if (said && *said == static_cast<double>(there)) return facts_of(report);
    *warning = file.string() + ": is about other weights (" +
               (said ? grouped_digits(*said) + " bytes" : std::string("no size said")) + ", the model has " +
               grouped_digits(static_cast<double>(there)) + "): not shown";
  } catch (const std::exception& fault) {
    *warning = file.string() + ": " + fault.what() + "; not shown";
  }
  return std::nullopt;
}

}  // namespace pare
