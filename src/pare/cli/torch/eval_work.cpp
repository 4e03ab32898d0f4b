// What `pare eval` does, in the program that has torch.

#include <ATen/Parallel.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/cli/torch_work.h"
#include "pare/pipeline/run/evaluate.h"
#include "pare/text/tokenizer.h"
#include "pare/text/windows.h"
#include "pare/weights/model_files.h"

namespace pare {
namespace {

std::string formatted(const char* format, double value, double error) {
  char text[96];
  std::snprintf(text, sizeof text, format, value, error);
  return text;
}

nlohmann::json as_json(const EvalArgs& args, const Evaluation& e) {
  nlohmann::json json{{"model", args.model.string()},
                      {"dtype", args.dtype},
                      {"perplexity", e.perplexity},
                      {"perplexity_stderr", e.perplexity_stderr},
                      {"tokens", e.tokens},
                      {"predicted", e.predicted},
                      {"length", e.length},
                      {"windows", e.windows},
                      {"stderr_over", e.stderr_over_windows ? "windows" : "tokens"}};
  for (const auto& path : args.text) json["text"].push_back(path.string());
  if (!e.kl) return json;
  json["against"] = args.against.string();
  json["against_perplexity"] = *e.against_perplexity;
  json["against_perplexity_stderr"] = *e.against_perplexity_stderr;
  json["kl"] = *e.kl;
  json["kl_stderr"] = *e.kl_stderr;
  json["top1"] = *e.top1;
  json["top1_stderr"] = *e.top1_stderr;
  return json;
}

void print_table(const Evaluation& e) {
  const auto row = [](const char* name, const std::string& value, const char* meaning = "") {
    std::printf("  %-22s %-24s %s\n", name, value.c_str(), meaning);
  };
  std::printf("%lld tokens in %lld windows of %lld, %lld predicted; +- is one standard error over %s\n\n",
              static_cast<long long>(e.tokens), static_cast<long long>(e.windows), static_cast<long long>(e.length),
              static_cast<long long>(e.predicted), e.stderr_over_windows ? "windows" : "tokens");
  row("perplexity", formatted("%.4f +- %.4f", e.perplexity, e.perplexity_stderr));
  if (!e.kl) return;
  row("original's perplexity", formatted("%.4f +- %.4f", *e.against_perplexity, *e.against_perplexity_stderr));
  row("ratio", formatted("%.4f", e.perplexity / *e.against_perplexity, 0));
  row("KL divergence", formatted("%.6f +- %.6f", *e.kl, *e.kl_stderr), "nats a token, original || model");
  row("same first choice", formatted("%.2f %% +- %.2f %%", 100 * *e.top1, 100 * *e.top1_stderr), "of the two models");
}

void show_progress(double done, std::string_view what) {
  char text[64];
  std::snprintf(text, sizeof text, "eval: %3.0f %%  %.*s", 100 * done, static_cast<int>(what.size()), what.data());
  set_status_line(text);
}

}  // namespace

void eval_work(const EvalArgs& args, Console& console) {
  if (args.threads > 0) at::set_num_threads(args.threads);
  const ModelFiles model = ModelFiles::open(args.model);
  std::optional<ModelFiles> original;
  if (!args.against.empty()) original = ModelFiles::open(args.against);

  std::vector<int32_t> ids = Tokenizer::open(args.model).encode(read_text_files(args.text), false);
  const auto found = static_cast<int64_t>(ids.size());
  if (args.tokens > found) {
    log_line(Level::warning, "eval: the text has " + std::to_string(found) + " tokens, --tokens asks for " +
                                 std::to_string(args.tokens) + "; all of it is used");
  } else if (args.tokens > 0) {
    ids.resize(static_cast<size_t>(args.tokens));
  }
  Windows windows = evaluation_windows(ids, args.length);
  if (windows.empty()) {
    log_line(Level::warning, "eval: " + std::to_string(ids.size()) + " tokens fill no window of " +
                                 std::to_string(args.length) + "; they are taken as one shorter window");
    windows.push_back(std::move(ids));
  }

  EvaluationOptions options;
  options.bf16 = args.dtype == "bf16";
  options.progress = show_progress;
  const Evaluation e = original ? evaluate(model, *original, windows, options) : evaluate(model, windows, options);
  set_status_line("");
  if (console.json) {
    std::printf("%s\n", as_json(args, e).dump(2).c_str());
  } else {
    print_table(e);
  }
  if (!std::isfinite(e.perplexity)) {
    log_line(Level::warning, "eval: the perplexity is not finite: the model computes infinities or NaN on this text");
    console.exit_code = static_cast<int>(Exit::goal_missed);
  }
}

}  // namespace pare
