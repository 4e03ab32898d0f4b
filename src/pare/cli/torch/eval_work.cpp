// pare eval: the work itself.

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/base/resources.h"
#include "pare/cli/torch_work.h"
#include "pare/pipeline/progress.h"
#include "pare/pipeline/run/evaluate.h"
#include "pare/text/tokenizer.h"
#include "pare/text/windows.h"

namespace pare {
namespace {

using nlohmann::json;

Windows windows_of(const EvalArgs& args) {
  auto ids = Tokenizer::open(args.model).encode(read_text_files(args.text), false);
  if (args.tokens > 0) ids.resize(std::min(ids.size(), static_cast<size_t>(args.tokens)));
  const auto count = static_cast<int64_t>(ids.size());
  if (count < 2)
    throw InputError("eval: the text has " + std::to_string(count) + " tokens; at least 2 are needed to predict one");
  return evaluation_windows(ids, std::min(args.length, count));
}

json figures(const Evaluation& result) {
  json values{{"perplexity", result.perplexity},
              {"perplexity_stderr", result.perplexity_stderr},
              {"tokens", result.tokens},
              {"predicted", result.predicted},
              {"length", result.length},
              {"windows", result.windows},
              {"kl", nullptr},
              {"top1", nullptr}};
  if (result.kl) {
    values.update({{"kl", *result.kl},
                   {"kl_stderr", *result.kl_stderr},
                   {"top1", *result.top1},
                   {"top1_stderr", *result.top1_stderr},
                   {"against_perplexity", *result.against_perplexity},
                   {"against_perplexity_stderr", *result.against_perplexity_stderr}});
  }
  return values;
}

void print_figures(const Evaluation& result) {
  const auto line = [](const char* what, double value, double error, const char* unit) {
    std::printf("  %-22s %12.4f +- %.4f%s\n", what, value, error, unit);
  };
  line("perplexity", result.perplexity, result.perplexity_stderr, "");
  if (result.kl) {
    line("perplexity, original", *result.against_perplexity, *result.against_perplexity_stderr, "");
    line("KL divergence", *result.kl, *result.kl_stderr, " nats a token");
    line("same first choice", 100 * *result.top1, 100 * *result.top1_stderr, " %");
  }
  std::printf("  %ld tokens predicted in %ld windows of %ld; errors are standard errors%s\n",
              static_cast<long>(result.predicted), static_cast<long>(result.windows), static_cast<long>(result.length),
              result.stderr_over_windows ? " over windows" : " over tokens");
}

}  // namespace

void eval_work(const EvalArgs& args, Console& console) {
  keep_heap_compact();
  if (args.threads > 0) at::set_num_threads(args.threads);
  const ModelFiles model = ModelFiles::open(args.model);
  const Windows windows = windows_of(args);
  EvaluationOptions options;
  options.bf16 = args.dtype == "bf16";
  Progress progress("evaluating", 100);
  options.progress = [&](double done, std::string_view what) {
    progress.update(static_cast<int64_t>(100 * done), std::string(what));
  };
  const Evaluation result = args.against.empty() ? evaluate(model, windows, options)
                                                 : evaluate(model, ModelFiles::open(args.against), windows, options);
  if (console.json) {
    std::printf("%s\n", figures(result).dump(1).c_str());
  } else {
    print_figures(result);
  }
  if (!std::isfinite(result.perplexity)) {
    std::fflush(stdout);
    set_status_line("");
    std::fprintf(
        stderr,
        "pare: eval: the perplexity is not finite: the model's predictions on this text are NaN or so wrong that "
        "they overflow; its weights are damaged, or it needs --dtype f32\n");
    console.exit_code = static_cast<int>(Exit::goal_missed);
  }
}

}  // namespace pare
