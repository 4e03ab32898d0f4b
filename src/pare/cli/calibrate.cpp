// pare calibrate MODEL -o imatrix.gguf [--calib FILE] [--samples 128] [--length 512]

#include <CLI/CLI.hpp>
#include <memory>

#include "pare/base/error.h"
#include "pare/base/units.h"
#include "pare/cli/commands.h"
#include "pare/cli/torch_work.h"

namespace pare {

void add_calibrate(CLI::App& app, Console& console) {
  struct Flags {
    CalibrateArgs args;
    std::string memory;
  };
  auto flags = std::make_shared<Flags>();
  CalibrateArgs& args = flags->args;
  CLI::App* command =
      add_command(app, "calibrate", "An importance matrix of a model, for pare compress and llama-quantize");
  command->add_option("model", args.model, "Hugging Face folder or .gguf file")->required();
  command
      ->add_option("-o,--out", args.out,
                   "File to write, whole or not at all: imatrix.gguf, or imatrix.dat, the format of older llama.cpp")
      ->required();
  command
      ->add_option("--calib", args.calibration.files,
                   "Text to calibrate on, as the model will see it; again for more files (default: the model writes "
                   "it, once for each model, seed and shape: kept under $PARE_CACHE or ~/.cache/pare)")
      ->allow_extra_args(false);
  command->add_option("--samples", args.calibration.samples, "Windows of calibration text")
      ->check(CLI::Range(int64_t{1}, CalibrationWish::kMostSamples))
      ->capture_default_str();
  command->add_option("--length", args.calibration.length, "Tokens a window")
      ->check(CLI::Range(CalibrationWish::kShortest, CalibrationWish::kLongest))
      ->capture_default_str();
  command->add_option("--seed", args.seed, "Seed of where the windows begin, and of the model's own text")
      ->capture_default_str();
  command->add_option("--memory", flags->memory, "Most memory to use, such as 6GB (default: what is free)");
  command->add_option("--threads", args.threads, "Threads (default: all cores)")->check(CLI::Range(1, 4096));
  command->add_flag("--json", console.json, "one JSON object on stdout");
  command->footer(
      "Examples:\n"
      "  pare calibrate model.F16.gguf -o imatrix.gguf --calib text.txt\n"
      "  pare compress model.F16.gguf -o small --type Q4_K_M --method rtn --imatrix imatrix.gguf");
  command->callback([flags, &console] {
    if (!flags->memory.empty()) {
      flags->args.memory_bytes = parse_bytes(flags->memory, "--memory");
      if (flags->args.memory_bytes == 0) throw UsageError("--memory " + flags->memory + ": nothing runs in no memory");
    }
    calibrate_work(flags->args, console);
  });
}

}  // namespace pare
