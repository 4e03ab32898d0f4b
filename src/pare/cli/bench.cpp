// pare bench MODEL: how fast this machine runs it. pare bench kernels: in bench_kernels.cpp.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/base/json.h"
#include "pare/base/random.h"
#include "pare/base/resources.h"
#include "pare/cli/commands.h"
#include "pare/cli/runtime_options.h"
#include "pare/kernels/bandwidth.h"
#include "pare/kernels/isa.h"
#include "pare/runtime/model.h"

namespace pare {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct BenchArgs {
  std::string model;
  RuntimeArgs runtime;
  int64_t prompt = 512, generate = 128;
  std::vector<int> threads;
  std::vector<int64_t> batches = {1};
  int repeat = 3;
};

double seconds(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

class Bench {
 public:
  Bench(Model& model, const BenchArgs& args) : model_(model), args_(args) {
    const CounterRandom random(0, "bench");
    for (int64_t i = 0; i < std::max<int64_t>(args.prompt, 1); ++i) {
      prompt_.push_back(
          static_cast<int32_t>(random.below(static_cast<uint64_t>(i), static_cast<uint64_t>(model.vocab_size()))));
    }
  }

  // Seconds of the prompt; the sequence holds it afterwards.
  double prefill(Sequence& sequence) {
    return seconds([&] {
      const SequenceStep step{&sequence, prompt_, 1};
      model_.forward(std::span(&step, 1));
    });
  }

  double prefill_rate() {
    if (args_.prompt == 0) return 0;
    std::vector<double> times;
    for (int i = 0; i <= args_.repeat; ++i) {
      stop_if_interrupted();
      const auto sequence = model_.new_sequence();
      const double time = prefill(*sequence);
      if (i > 0) times.push_back(time);  // the first finds its buffers
    }
    return static_cast<double>(args_.prompt) / median(times);
  }

  // Tokens a second, of all sequences together, from an empty context on.
  double decode_rate(int64_t batch) {
    if (args_.generate == 0) return 0;
    std::vector<double> times;
    for (int i = 0; i < args_.repeat; ++i) {
      std::vector<std::unique_ptr<Sequence>> sequences;
      for (int64_t b = 0; b < batch; ++b) sequences.push_back(model_.new_sequence());
      std::vector<int32_t> tokens(static_cast<size_t>(batch), prompt_[0]);
      std::vector<SequenceStep> steps;
      for (size_t b = 0; b < tokens.size(); ++b)
        steps.push_back({sequences[b].get(), std::span(tokens).subspan(b, 1), 1});
      times.push_back(seconds([&] {
        for (int64_t n = 0; n < args_.generate; ++n) {
          stop_if_interrupted();
          const auto logits = model_.forward(steps);
          const int64_t vocab = model_.vocab_size();
          for (int64_t b = 0; b < batch; ++b) {
            const auto row = logits.subspan(static_cast<size_t>(b * vocab), static_cast<size_t>(vocab));
            tokens[static_cast<size_t>(b)] =
                static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
          }
        }
      }));
    }
    return static_cast<double>(args_.generate * batch) / median(times);
  }

 private:
  Model& model_;
  const BenchArgs& args_;
  std::vector<int32_t> prompt_;
};

json measure(const BenchArgs& args, int threads, int64_t batch) {
  RuntimeArgs runtime = args.runtime;
  runtime.threads = threads;
  ThreadPool pool({.threads = threads, .pin = runtime.pin});
  reset_peak_rss();
  std::optional<ModelFiles> files;
  std::optional<Model> model;
  const double load = seconds([&] {
    files = ModelFiles::open(args.model);
    model = Model::load(*files, runtime.options(), pool);
  });
  if (args.prompt > model->context() || args.generate > model->context()) {
    throw UsageError("-p " + std::to_string(args.prompt) + " -n " + std::to_string(args.generate) +
                     ": the context holds " + std::to_string(model->context()) + " tokens");
  }
  Bench bench(*model, args);
  const double first_token = [&] {
    const auto sequence = model->new_sequence();
    return bench.prefill(*sequence);
  }();
  json result{{"threads", pool.threads()}, {"batch", batch}, {"load_s", load}, {"first_token_s", load + first_token}};
  result["prefill_tokens_per_s"] = bench.prefill_rate();
  result["decode_tokens_per_s"] = bench.decode_rate(batch);
  result["rss_bytes"] = peak_rss_bytes();
  result["weight_bytes"] = model->weight_bytes();
  const uint64_t read = model->token_bytes();
  model.reset();
  const double bandwidth = read_bandwidth(pool, std::max<int64_t>(static_cast<int64_t>(read), int64_t{1} << 20));
  result["token_bytes"] = read;
  result["bandwidth_bytes_per_s"] = bandwidth;
  result["bandwidth_share"] =
      result["decode_tokens_per_s"].get<double>() / static_cast<double>(batch) * static_cast<double>(read) / bandwidth;
  return result;
}

void run(const BenchArgs& args, const Console& console) {
  json results = json::array();
  const std::vector<int> threads = args.threads.empty() ? std::vector<int>{physical_cores()} : args.threads;
  if (!console.json) {
    std::printf("%s, %s; %s\n\n", cpu_name().c_str(), name_of(current_isa()), args.model.c_str());
    std::printf(
        "| threads | sequences | prefill %lld, tokens/s | decode %lld, tokens/s | of bandwidth | GB/s read | load s | "
        "first token s | peak MB |\n",
        static_cast<long long>(args.prompt), static_cast<long long>(args.generate));
    std::printf("|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
  }
  for (int count : threads) {
    for (int64_t batch : args.batches) {
      const json r = measure(args, count, batch);
      if (!console.json) {
        const auto number = [&](const char* key) { return r[key].get<double>(); };
        std::printf("| %d | %lld | %.1f | %.1f | %.0f %% | %.1f | %.2f | %.2f | %.0f |\n", r["threads"].get<int>(),
                    static_cast<long long>(batch), number("prefill_tokens_per_s"), number("decode_tokens_per_s"),
                    100 * number("bandwidth_share"), number("bandwidth_bytes_per_s") / 1e9, number("load_s"),
                    number("first_token_s"), number("rss_bytes") / 1e6);
        std::fflush(stdout);
      }
      results.push_back(r);
    }
  }
  if (console.json) {
    json whole = results[0];  // of one setting the keys stand at the top as well
    whole["results"] = results;
    whole["cpu"] = cpu_name();
    whole["isa"] = name_of(current_isa());
    whole["prompt"] = args.prompt;
    whole["generate"] = args.generate;
    std::printf("%s\n", dump_json(whole, 1).c_str());
  }
}

}  // namespace

void add_bench(CLI::App& app, Console& console) {
  auto args = std::make_shared<BenchArgs>();
  auto* command =
      add_command(app, "bench", "How fast this machine runs a model, or multiplies with compressed weights");
  command->require_subcommand(0, 1);
  add_bench_kernels(*command, console);
  auto* model = command->add_option("model", args->model, "Hugging Face folder or .gguf file; or the word kernels");
  command->add_option("-p,--prompt", args->prompt, "Tokens of the prompt; 0: do not measure")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("-n,--generate", args->generate, "Tokens to write; 0: do not measure")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("-t,--threads", args->threads, "One or several numbers of threads, as 1,2")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  command->add_option("--batch", args->batches, "Sequences decoded together, as 1,4")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  command->add_option("--repeat", args->repeat, "Medians of so many")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  args->runtime.add_to(*command, /*with_threads=*/false);
  command->add_flag("--json", console.json, "One JSON object on stdout");
  command->footer(
      "Examples:\n  pare bench small.gguf -t 1,2\n  pare bench kernels --shape 4096x14336 --weights int4,Q4_K,F16");
  command->callback([args, model, command, &console] {
    if (!command->get_subcommands().empty()) return;
    if (model->empty()) throw UsageError("bench: give a model, or the word kernels");
    run(*args, console);
  });
}

}  // namespace pare
