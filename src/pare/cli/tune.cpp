// pare tune: finds, for a model or for shapes by name, the fastest way through each of its products on this machine,
// and remembers it for run, serve and bench.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/base/json.h"
#include "pare/base/resources.h"
#include "pare/cli/commands.h"
#include "pare/cli/kernel_shapes.h"
#include "pare/kernels/isa.h"
#include "pare/kernels/test_weights.h"
#include "pare/kernels/tune.h"
#include "pare/weights/model_files.h"

namespace pare {
namespace {

using nlohmann::json;

struct TuneArgs {
  std::string model, shape;
  std::vector<std::string> kinds = {"int4", "Q4_0", "Q8_0", "Q4_K"};
  int threads = 0;
  bool pin = false;
  TuneOptions options;
};

std::string words(const cpu::Variant& v, int64_t tokens, bool in_panels) {
  const std::string distance = "asked for " + std::to_string(v.fetch_ahead) + " bytes ahead", ahead = ", " + distance;
  if (!in_panels && token_class(tokens) != TokenClass::many) return distance;
  switch (token_class(tokens)) {
    case TokenClass::one:
      return (v.panels == 2 ? "two panels side by side" : "one panel") + ahead;
    case TokenClass::few:
      return (v.in_registers ? "in registers" : "by way of memory") + ahead;
    default:
      return "tiles of " + std::to_string(v.tile) + ", spans of " + std::to_string(v.span_bytes >> 10) + " KB" + ahead;
  }
}

class Tuner {
 public:
  Tuner(const TuneArgs& args, const Console& console)
      : args_(args), json_(console.json), pool_({.threads = args.threads, .pin = args.pin}) {
    speed_ = measure_machine(pool_);
    if (!json_) {
      std::printf(
          "%s, %s, %d threads: %.1f GB/s from memory, %.0f from the last-level cache, %.0f from the second "
          "level; %.0f G products/s\n\n"
          "| product | tokens | built in, us | best, us | gain | how |\n|---|--:|--:|--:|--:|---|\n",
          cpu_name().c_str(), name_of(current_isa()), pool_.threads(), speed_.memory / 1e9, speed_.last_cache / 1e9,
          speed_.near_cache / 1e9, speed_.dots * 64 / 1e9);
    }
  }

  void tune(const Weight& weight) {
    stop_if_interrupted();
    std::vector<Matrix> copies = copies_beyond_cache(weight, nullptr, pool_);
    const Matrix& matrix = copies.front();
    const std::vector<Trial> trials = pare::tune(copies, speed_, args_.options, pool_);
    table_.set({matrix.layout(), matrix.rows(), matrix.cols(), pool_.threads()}, matrix.variants());
    table_.save();  // now, so that Ctrl-C takes back nothing
    const std::string name =
        matrix.layout() + ", " + std::to_string(matrix.rows()) + " x " + std::to_string(matrix.cols());
    for (const Trial& trial : trials) {
      results_.push_back({{"layout", matrix.layout()},
                          {"rows", matrix.rows()},
                          {"cols", matrix.cols()},
                          {"tokens", trial.tokens},
                          {"how", words(trial.how, trial.tokens, matrix.in_panels())},
                          {"predicted_s", trial.predicted},
                          {"measured_s", trial.measured > 0 ? json(trial.measured) : json()},
                          {"built_in", trial.built_in},
                          {"taken", trial.taken}});
    }
    if (json_) return;
    for (const Trial& taken : trials) {
      if (!taken.taken) continue;
      const double before = built_in_time(trials, taken.tokens);
      std::printf("| %s | %lld | %.1f | %.1f | %.2fx | %s |\n", name.c_str(), static_cast<long long>(taken.tokens),
                  before * 1e6, taken.measured * 1e6, before / taken.measured,
                  taken.built_in ? "as built in" : words(taken.how, taken.tokens, matrix.in_panels()).c_str());
      std::fflush(stdout);
    }
  }

  void finish() {
    if (json_) {
      std::printf("%s\n", dump_json({{"cpu", cpu_name()},
                                     {"isa", name_of(current_isa())},
                                     {"threads", pool_.threads()},
                                     {"memory_bytes_per_s", speed_.memory},
                                     {"last_cache_bytes_per_s", speed_.last_cache},
                                     {"near_cache_bytes_per_s", speed_.near_cache},
                                     {"products_per_s", speed_.dots * 64},
                                     {"file", TuningTable::usual_file().string()},
                                     {"trials", results_}},
                                    1)
                              .c_str());
    } else {
      std::printf(
          "\nRemembered in %s for run, serve and bench with %d threads; results stay the same to the last bit.\n",
          TuningTable::usual_file().c_str(), pool_.threads());
    }
  }

 private:
  static double built_in_time(const std::vector<Trial>& trials, int64_t tokens) {
    for (const Trial& trial : trials) {
      if (trial.tokens == tokens && trial.built_in) return trial.measured;
    }
    return 0;
  }

  const TuneArgs& args_;
  bool json_;
  ThreadPool pool_;
  MachineSpeed speed_;
  TuningTable table_ = TuningTable::load();
  json results_ = json::array();
};

void run(const TuneArgs& args, const Console& console) {
  if (args.model.empty() == args.shape.empty()) {
    throw UsageError("give a model, or shapes with --shape (llama8b, smollm2, ROWSxCOLUMNS)");
  }
  if (!args.shape.empty()) {
    const std::vector<KernelShape> shapes = kernel_shapes(args.shape);
    Tuner tuner(args, console);
    for (const KernelShape& shape : shapes) {
      for (const std::string& kind : args.kinds) {
        if (shape.cols % column_multiple(kind) == 0) tuner.tune(random_weight(kind, shape.rows, shape.cols, 1));
      }
    }
    return tuner.finish();
  }
  const ModelFiles files = ModelFiles::open(args.model);
  Tuner tuner(args, console);
  std::set<std::tuple<std::string, std::vector<int64_t>>> seen;
  for (const ParameterInfo& parameter : files.parameters()) {
    if (parameter.shape.size() != 2 || !parameter.readable) continue;
    if (seen.insert({parameter.format, parameter.shape}).second) tuner.tune(files.read(parameter.name));
  }
  if (seen.empty()) throw InputError(args.model + ": has no matrices that Pare can read; see `pare inspect`");
  tuner.finish();
}

}  // namespace

void add_tune(CLI::App& app, Console& console) {
  auto args = std::make_shared<TuneArgs>();
  CLI::App* command = add_command(
      app, "tune", "Measures which way through a model's products is fastest on this machine, and remembers it");
  command->add_option("MODEL", args->model, "A folder or a GGUF file");
  command->add_option("--shape", args->shape, "Instead of a model: llama8b, smollm2 or ROWSxCOLUMNS");
  command->add_option("--weights", args->kinds, "With --shape: kinds, for example int4-g64-zeros, Q4_K")
      ->delimiter(',');
  command->add_option("-t,--threads", args->threads, "0: all cores")->check(CLI::Range(0, 1024));
  command->add_flag("--pin", args->pin, "Each thread on a core of its own");
  command->add_option("--best", args->options.best, "Variants to measure, those that the cost model likes best; 0: all")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  command->add_option("--seconds", args->options.seconds, "Of measuring, for each product and number of tokens")
      ->check(CLI::Range(0.01, 60.0))
      ->capture_default_str();
  command->add_flag("--json", console.json, "One JSON object on stdout, with every prediction and measurement");
  command->footer(
      "Examples:\n"
      "  pare tune small.gguf\n"
      "  pare tune --shape llama8b --weights int4,Q4_K --best 0 --json");
  command->callback([args, &console] { run(*args, console); });
}

}  // namespace pare
