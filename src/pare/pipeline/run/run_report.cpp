#include "pare/pipeline/run/run_report.h"

#include <ATen/Parallel.h>
#include <torch/headeronly/version.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "pare/base/resources.h"
#include "pare/base/units.h"
#include "pare/base/version.h"

namespace pare {

using nlohmann::json;

namespace {

int64_t parameters_of(const ModelFiles& files) {
  int64_t parameters = 0;
  for (const ParameterInfo& parameter : files.parameters()) parameters += parameter.form.elements();
  return parameters;
}

}  // namespace

json run_report(const RunFacts& facts, const std::vector<json>& records) {
  const CompressOptions& options = facts.options;
  const Plan& plan = facts.plan;
  json report{
      {"pare", {{"version", version()}, {"git", git_commit()}, {"compiler", compiler()}, {"torch", TORCH_VERSION}}},
      {"command", options.command},
      {"recipe", facts.recipe.to_json()},
      {"seed", options.recipe.seed},
      {"model",
       {{"path", options.model.string()},
        {"architecture", facts.architecture},
        {"parameters", parameters_of(facts.files)},
        {"bytes", plan.bytes_before},
        {"format", facts.files.format()},
        {"fingerprint", facts.files.fingerprint()}}},
      {"result",
       {{"path", facts.result.string()},
        {"format", name_of(plan.format)},
        {"bytes", facts.result_bytes},
        {"planned_bytes", plan.sizes.weight_bytes},
        {"bits_per_weight", plan.bits_per_weight}}},
      {"goal", facts.goal},
      {"evaluation", facts.evaluation},
      {"resources",
       {{"seconds", facts.seconds},
        {"phases", facts.phases},
        {"peak_rss_bytes", peak_rss_bytes()},
        {"planned_peak_bytes", plan.memory.peak_bytes},
        {"threads", at::get_num_threads()},
        {"cpu", cpu_name()}}}};
  if (facts.recipe != options.recipe) report["asked"] = options.recipe.to_json();
  json warnings = facts.tokens.warnings;
  std::map<std::string, json> solved;
  for (const json& block : records) {
    for (const json& layer : block) solved[layer.at("name")] = layer;
  }
  double zeros = 0, weights = 0;
  for (const LayerPlan& layer : plan.layers) {
    json entry = solved.at(layer.name);
    entry.update(layer.to_json());
    zeros += entry.at("sparsity").get<double>() * static_cast<double>(layer.form.elements());
    weights += static_cast<double>(layer.form.elements());
    for (const json& warning : entry.at("warnings")) warnings.push_back(warning);
    report["layers"].push_back(std::move(entry));
  }
  report["result"]["sparsity"] = zeros / weights;
  for (const LeftAlone& item : plan.left_alone)
    report["left_alone"].push_back({{"name", item.name}, {"why", item.why}, {"bytes", item.bytes}});
  if (plan.calibration_tokens > 0) {
    report["calibration"] = {{"source", facts.tokens.source},
                             {"samples", facts.tokens.calibration.size()},
                             {"length", facts.tokens.calibration.front().size()},
                             {"tokens", facts.tokens.calibration.size() * facts.tokens.calibration.front().size()},
                             {"seed", options.recipe.seed},
                             {"fingerprint", facts.tokens.fingerprint}};
  }
  if (!facts.sample.is_null()) report["sample"] = facts.sample;
  for (const std::string& note : plan.notes) warnings.push_back(note);
  report["warnings"] = warnings;
  return report;
}

std::string result_text(const RunFacts& facts, const json& report) {
  const json& evaluation = facts.evaluation;
  std::string text;
  char line[256];
  const auto add = [&](const char* what, const std::string& before, const std::string& after) {
    std::snprintf(line, sizeof line, "  %-22s %18s %18s\n", what, before.c_str(), after.c_str());
    text += line;
  };
  const auto number = [](const json& value, const char* format) {
    char digits[48];
    std::snprintf(digits, sizeof digits, format, value.get<double>());
    return std::string(digits);
  };
  add("", "before", "after");
  add("weight files", format_bytes(facts.plan.bytes_before), format_bytes(facts.result_bytes));
  if (!evaluation.empty()) {
    add("perplexity", number(evaluation["before"]["perplexity"], "%.3f"),
        number(evaluation["after"]["perplexity"], "%.3f"));
    add("KL divergence", "", number(evaluation["kl"], "%.4f nats"));
    add("same first choice", "", number(evaluation["top1"].get<double>() * 100, "%.1f %%"));
  }
  add("took", "", format_duration(report["resources"]["seconds"]));
  add("peak memory", "", format_bytes(report["resources"]["peak_rss_bytes"]));
  text += "\n  model   " + facts.result.string() + "\n  report  " + facts.page.string() + "\n";
  if (!facts.sample.is_null())
    text +=
        "\n  it writes: " + facts.sample["prompt"].get<std::string>() + facts.sample["after"].get<std::string>() + "\n";
  if (facts.goal["met"] == false)
    text += "\n  GOAL MISSED: " + facts.goal["why"].get<std::string>() + ". The result is kept.\n";
  return text;
}

}  // namespace pare
