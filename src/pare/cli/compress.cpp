// pare compress MODEL -o OUT [--bits 4] [--sparsity 2:4] [--method gptq] [--calib FILE] ...

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/base/log.h"
#include "pare/base/units.h"
#include "pare/cli/commands.h"
#include "pare/cli/compress_args.h"
#include "pare/cli/torch_work.h"
#include "pare/pipeline/gguf_mix.h"
#include "pare/pipeline/methods.h"
#include "pare/pipeline/model_output.h"
#include "pare/pipeline/plan.h"
#include "pare/pipeline/tensor_types.h"

namespace pare {
namespace {

// The flags as they are typed; empty means that the flag was not given, so that the recipe file's word stands.
struct Flags {
  CompressArgs args;
  std::string recipe_file, imatrix, method, bits, type, size, split, group, sparsity, format, memory;
  std::vector<std::filesystem::path> calibration;
  std::vector<std::string> tensor_types;  // RE=TYPE
  int64_t samples = 0, length = 0;
  double damp = -1;
  uint64_t seed = 0;
  bool asymmetric = false, symmetric = false, one_pass = false, guided = false, unguided = false, dry_run = false,
       seed_given = false;
};

void apply_bits(const std::string& text, WishPatch& wish) {
  if (text == "ternary") {
    wish.bits = 2;
    wish.ternary = true;
    return;
  }
  if (text.size() != 1 || text[0] < '2' || text[0] > '8')
    throw UsageError("--bits " + text + ": expected 2 to 8, or ternary");
  wish.bits = text[0] - '0';
  wish.ternary = false;
}

void apply_group(const std::string& text, WishPatch& wish) {
  if (text == "auto") {
    wish.group = 0;
    return;
  }
  size_t end = 0;
  int64_t group = 0;
  try {
    group = std::stoll(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  if (end != text.size() || group == 0 || group < -1)
    throw UsageError("--group " + text + ": expected a number of inputs such as 64, -1 for the whole row, or auto");
  wish.group = group;
}

Recipe build_recipe(const Flags& flags, const ModelOutput& output) {
  Recipe recipe;
  if (!flags.recipe_file.empty()) recipe = Recipe::from_file(flags.recipe_file);
  WishPatch& wish = recipe.wish;
  if (!flags.method.empty()) wish.method = flags.method;
  if (!flags.bits.empty()) apply_bits(flags.bits, wish);
  if (!flags.type.empty()) {
    require_mix(flags.type, "--type");
    wish.type = flags.type;
    wish.bits.reset();
  }
  if (!flags.size.empty()) recipe.size = parse_bytes(flags.size, "--size");
  if (!flags.split.empty()) recipe.split = parse_bytes(flags.split, "--split");
  if (flags.guided) recipe.guided = true;
  if (flags.unguided) recipe.guided = false;
  if (!flags.group.empty()) apply_group(flags.group, wish);
  if (!flags.sparsity.empty()) wish.sparsity = Pattern::parse(flags.sparsity);
  if (flags.asymmetric) wish.symmetric = false;
  if (flags.symmetric) wish.symmetric = true;
  if (flags.damp >= 0) wish.damp = flags.damp;
  if (!flags.format.empty()) recipe.format = flags.format;
  if (const std::string format = output.format(recipe.format.value_or("")); !format.empty()) recipe.format = format;
  if (!flags.imatrix.empty()) recipe.imatrix = flags.imatrix;
  if (!flags.calibration.empty()) recipe.calibration.files = flags.calibration;
  if (flags.samples > 0) recipe.calibration.samples = flags.samples;
  if (flags.length > 0) recipe.calibration.length = flags.length;
  if (flags.one_pass) recipe.true_sequential = false;
  if (flags.seed_given) recipe.seed = flags.seed;
  const bool says_what =
      recipe.size > 0 || wish.bits || wish.type || wish.sparsity || wish.method || !recipe.layers.empty();
  if (!says_what) wish.bits = 4;
  return recipe;
}

// The command as it can be typed again.
std::string command_line(char** argv) {
  std::string line = "pare";
  for (char** word = argv + 1; *word != nullptr; ++word) {
    std::string text = *word;
    if (text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+%") !=
            std::string::npos ||
        text.empty()) {
      for (size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 4) text.replace(at, 1, "'\\''");
      text = "'" + text + "'";
    }
    line += " " + text;
  }
  return line;
}

std::string method_list() {
  std::string list;
  for (const std::string& name : method_names()) list += (list.empty() ? "" : ", ") + name;
  return list;
}

void run(const Flags& flags, Console& console) {
  CompressArgs args = flags.args;
  const ModelOutput output(args.out);
  args.recipe = build_recipe(flags, output);
  if (!flags.memory.empty()) {
    args.memory_bytes = parse_bytes(flags.memory, "--memory");
    if (args.memory_bytes == 0) throw UsageError("--memory " + flags.memory + ": nothing runs in no memory");
  }
  if (!flags.tensor_types.empty()) add_tensor_types(flags.tensor_types, ModelFiles::open(args.model), args.recipe);
  args.json = console.json;
  args.command = command_line(console.argv);
  if (args.out.empty() && !flags.dry_run)
    throw UsageError("compress: where to? Give -o OUT, or --dry-run for the plan alone");
  if (!flags.dry_run) {
    compress_work(args, console);
    return;
  }
  const ModelFiles files = ModelFiles::open(args.model);
  const Plan plan = make_plan(
      files, args.recipe,
      {args.memory_bytes, args.threads, args.evaluation_tokens, !args.evaluation_text.empty(), output.gguf_name()});
  if (console.json) {
    std::printf("%s\n", dump_json(plan.to_json(), 1).c_str());
  } else {
    std::printf("%s", plan.text().c_str());
  }
}

}  // namespace

void add_compress(CLI::App& app, Console& console) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = add_command(app, "compress", "Make a model smaller, and say what it cost");
  command->add_option("model", flags->args.model, "Hugging Face folder or .gguf file")->required();
  command->add_option("-o,--out", flags->args.out,
                      "Folder to write, or X.gguf: that file, its report beside it; whole or not at all");
  command->add_option("--method", flags->method, method_list() + " (default: gptq; with --sparsity sparsegpt)");
  CLI::Option* bits =
      command->add_option("--bits", flags->bits, "2 to 8, or ternary (default: 4, unless --sparsity is given alone)");
  command
      ->add_option("--type", flags->type,
                   "Instead of bits, for a GGUF file: a type (Q4_K, IQ4_NL ...) or mix (Q4_K_M, Q3_K_S ...)")
      ->excludes(bits);
  command
      ->add_option("--size", flags->size,
                   "Instead of a type: the best GGUF file of at most this size, such as 90MB; each tensor's type is "
                   "chosen by what its error costs")
      ->excludes(bits);
  command->add_option("--split", flags->split,
                      "Largest file, such as 2GB: a larger GGUF is written in parts, X-00001-of-00003.gguf and so on");
  command
      ->add_option("--tensor-type", flags->tensor_types,
                   "REGEX=TYPE for the tensors whose name, GGUF's or Hugging Face's, the expression is found in: goes "
                   "over --type and --size; again for more")
      ->allow_extra_args(false);
  command->add_option("--group", flags->group,
                      "Inputs that share a scale; -1: the whole row; auto: 128, or less where that does not divide");
  command->add_flag("--asym", flags->asymmetric, "Zero points beside the scales: better at 2 and 3 bits")
      ->excludes(command->add_flag("--sym", flags->symmetric, "Grids symmetric about zero (default)"));
  command->add_option("--sparsity", flags->sparsity, "Share to remove, 0.5 or 50%, or n:m kept, 2:4 or 4:8");
  command->add_option("--damp", flags->damp, "Damping relative to the mean curvature (default: 0.01)")
      ->check(CLI::Range(0.0, 1000.0));
  command
      ->add_option("--calib", flags->calibration,
                   "Text to calibrate on, as the model will see it; again for more files (default: the model writes "
                   "it, once for each model, seed and shape: kept under $PARE_CACHE or ~/.cache/pare)")
      ->allow_extra_args(false);
  command->add_option(
      "--imatrix", flags->imatrix,
      "Importance matrix of pare calibrate or llama-imatrix (.gguf, .dat), for --method rtn with --type");
  command->add_option("--samples", flags->samples, "Windows of calibration text (default: 128)")
      ->check(CLI::Range(int64_t{1}, CalibrationWish::kMostSamples));
  command->add_option("--length", flags->length, "Tokens a window (default: 512)")
      ->check(CLI::Range(CalibrationWish::kShortest, CalibrationWish::kLongest));
  command->add_option("--recipe", flags->recipe_file, "YAML file that says it all, per layer too; flags go over it");
  command->add_option(
      "--format", flags->format,
      "hf, gptq, compressed-tensors, pare, gguf (default: compressed-tensors; --asym: gptq; pruned only: hf)");
  command->add_flag("--one-pass", flags->one_pass,
                    "Curvature of a whole block from one pass instead of stage by stage");
  command
      ->add_flag("--guided", flags->guided,
                 "Weigh calibration tokens by the gradient of the model's predictions (default with --type and "
                 "--size): lower KL for about twice the time")
      ->excludes(command->add_flag("--no-guided", flags->unguided, "Count all tokens alike"));
  command->add_option("--memory", flags->memory, "Most memory to use, such as 6GB (default: what is free)");
  command
      ->add_option("--threads", flags->args.threads, "Threads; the result does not depend on it (default: all cores)")
      ->check(CLI::Range(1, 4096));
  command->add_option_function<uint64_t>(
      "--seed",
      [flags](uint64_t seed) {
        flags->seed = seed;
        flags->seed_given = true;
      },
      "Seed of every random choice (default: 0)");
  command->add_option("--eval-text", flags->args.evaluation_text,
                      "Text to evaluate on before and after (default: kept apart from the calibration text)");
  command
      ->add_option("--eval-tokens", flags->args.evaluation_tokens, "Tokens of it (default: 4096; 0: do not evaluate)")
      ->check(CLI::Range(int64_t{0}, int64_t{1'000'000'000}));
  command
      ->add_option("--eval-length", flags->args.evaluation_length,
                   "Tokens a window of it (default: 512; of text that the model writes: --length)")
      ->check(CLI::Range(int64_t{8}, int64_t{1} << 20));
  command->add_option("--max-kl", flags->args.max_kl,
                      "Exit with 6 when the KL divergence is above, in nats a token (default: 1)");
  command->add_flag("--dry-run", flags->dry_run, "Show the plan and stop");
  command->add_flag("--json", console.json, "The report (with --dry-run the plan) as JSON on stdout");
  command->footer(
      "Examples:\n"
      "  pare compress SmolLM2-135M-Instruct.Q4_1.gguf -o small --bits 4 --group 64\n"
      "  pare compress Llama-3-8B -o small.gguf --type Q4_K_M\n"
      "  pare compress Llama-3-8B -o small --sparsity 2:4 --calib text.txt --memory 6GB --dry-run");
  command->callback([flags, &console] { run(*flags, console); });
}

}  // namespace pare
