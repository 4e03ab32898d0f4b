// pare bench kernels: products of every kind of weight at a model's shapes, against what the machine can read and
// multiply.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/base/resources.h"
#include "pare/cli/commands.h"
#include "pare/cli/kernel_shapes.h"
#include "pare/kernels/bandwidth.h"
#include "pare/kernels/isa.h"
#include "pare/kernels/matrix.h"
#include "pare/kernels/test_weights.h"
#include "pare/kernels/tune.h"

namespace pare {
namespace {

using nlohmann::json;

struct KernelsArgs {
  std::string shape = "llama8b";
  std::vector<std::string> kinds = {"F16",       "F16-mask",        "int8", "Q8_0", "Q6_K",    "Q4_0",      "Q4_K",
                                    "int4",      "int4-g128-zeros", "int3", "int2", "ternary", "int8-mask", "int8-2of4",
                                    "int4-mask", "int4-2of4"};
  std::vector<int64_t> tokens = {1, 4, 16, 128, 512};
  int threads = 0;
  bool pin = false, f32 = false;
  double seconds = 0.3;
};

void run(const KernelsArgs& args, const Console& console) {
  ThreadPool pool({.threads = args.threads, .pin = args.pin});
  const int64_t room = bytes_beyond_cache();
  const TuningTable tuning = TuningTable::load();
  const double bandwidth = read_bandwidth(pool, room), peak = int8_peak(pool);
  const bool table = !console.json;
  if (table) {
    std::printf("%s, %s, %d threads; reads %.1f GB/s over %.0f MB, multiplies %.0f G codes/s from registers\n\n",
                cpu_name().c_str(), name_of(current_isa()), pool.threads(), bandwidth / 1e9,
                static_cast<double>(room) / 1e6, peak / 1e9);
    std::printf(
        "| weight | rows x columns | tokens | us | GB/s | of bandwidth | GFLOPS | of roofline "
        "|\n|---|---|--:|--:|--:|--:|--:|--:|\n");
  }
  json results = json::array();
  for (const KernelShape& shape : kernel_shapes(args.shape)) {
    for (const std::string& kind : args.kinds) {
      if (shape.cols % column_multiple(kind) != 0) continue;  // Q4_K at 576 columns
      const Weight weight = random_weight(kind, shape.rows, shape.cols, 1);
      const std::vector<Matrix> weights = copies_beyond_cache(weight, &tuning, pool);
      for (int64_t tokens : args.tokens) {
        std::vector<float> x(static_cast<size_t>(tokens * shape.cols)), y(static_cast<size_t>(tokens * shape.rows));
        for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8.0f;
        Activations rows(shape.cols, args.f32 ? Precision::f32 : Precision::int8);
        rows.assign(x.data(), tokens, shape.cols, pool);
        const double time = time_product(weights, rows, y, args.seconds, pool);
        const auto bytes = static_cast<double>(weights[0].bytes()),
                   products = static_cast<double>(tokens * shape.rows * shape.cols);
        const double roofline = std::max(bytes / bandwidth, products / peak) / time;
        results.push_back({{"weight", kind},
                           {"layout", weights[0].layout()},
                           {"rows", shape.rows},
                           {"cols", shape.cols},
                           {"tokens", tokens},
                           {"seconds", time},
                           {"bytes_per_s", bytes / time},
                           {"flops", 2 * products / time},
                           {"bandwidth_share", bytes / time / bandwidth},
                           {"roofline_share", roofline}});
        if (table) {
          std::printf("| %s | %lld x %lld | %lld | %.1f | %.1f | %.0f %% | %.0f | %.0f %% |\n", kind.c_str(),
                      static_cast<long long>(shape.rows), static_cast<long long>(shape.cols),
                      static_cast<long long>(tokens), time * 1e6, bytes / time / 1e9, 100 * bytes / time / bandwidth,
                      2 * products / time / 1e9, 100 * roofline);
          std::fflush(stdout);
        }
      }
    }
  }
  if (console.json) {
    std::printf("%s\n", dump_json({{"cpu", cpu_name()},
                                   {"isa", name_of(current_isa())},
                                   {"threads", pool.threads()},
                                   {"bandwidth_bytes_per_s", bandwidth},
                                   {"int8_products_per_s", peak},
                                   {"results", results}},
                                  1)
                            .c_str());
  }
}

}  // namespace

void add_bench_kernels(CLI::App& bench, Console& console) {
  auto args = std::make_shared<KernelsArgs>();
  CLI::App* command =
      add_command(bench, "kernels", "Products of every kind of weight, against what the machine can read and multiply");
  command->add_option("--shape", args->shape, "llama8b, smollm2 or ROWSxCOLUMNS")->capture_default_str();
  command->add_option("--weights", args->kinds, "Kinds, for example int4-g64-zeros, int8-row, Q4_K, F16")
      ->delimiter(',');
  command->add_option("--tokens", args->tokens, "How many at once")->delimiter(',')->check(CLI::Range(1, 4096));
  command->add_option("-t,--threads", args->threads, "0: all cores")->check(CLI::Range(0, 1024));
  command->add_flag("--pin", args->pin, "Each thread on a core of its own");
  command->add_flag("--f32", args->f32, "Multiply in f32 instead of 8-bit activations");
  command->add_option("--seconds", args->seconds, "For each figure")->check(CLI::Range(0.01, 60.0));
  command->add_flag("--json", console.json, "One JSON object on stdout");
  command->callback([args, &console] { run(*args, console); });
}

}  // namespace pare
