// pare convert MODEL -o OUT --format hf|gptq|compressed-tensors|aqlm|pare|gguf [--type Q4_K_M] [--lossy] [--dequantize]
//
// The same weights in the format that another program wants; read back before the output appears.

#include "pare/pipeline/convert.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/base/units.h"
#include "pare/cli/commands.h"
#include "pare/io/output_folder.h"
#include "pare/pipeline/gguf_mix.h"
#include "pare/pipeline/model_output.h"
#include "pare/weights/aqlm_layout.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

struct ConvertArgs {
  std::string model, out, format, dtype, type, split;
  int bits = 0, gptq_version = 0;
  int64_t group = 0;
  bool dequantize = false, lossy = false, dry_run = false;
};

Dtype parse_dtype(const std::string& text) {
  return text == "f16" ? Dtype::f16 : text == "bf16" ? Dtype::bf16 : Dtype::f32;
}

ConvertOptions options_of(const ConvertArgs& args, const ModelOutput& out) {
  ConvertOptions options;
  const std::string format = out.format(args.format);
  if (format.empty() && args.type.empty()) {
    throw UsageError("convert: into what? Give --format (" + output_formats_text() + ")");
  }
  options.format = format.empty() ? OutputFormat::gguf : parse_output_format(format);
  const bool gguf = options.format == OutputFormat::gguf;
  if (!args.type.empty()) {
    if (options.format == OutputFormat::aqlm) {
      if (!aqlm_scheme_named(args.type)) {
        throw UsageError("--type " + args.type +
                         ": expected codebooks x bits, such as 2x8, or 2x8g16 for groups of 16");
      }
    } else {
      require_mix(args.type, "--type");
      if (!gguf) {
        throw UsageError("--type " + args.type + ": a type of GGUF, which --format " + args.format + " is not");
      }
    }
  }
  const bool typed = gguf || options.format == OutputFormat::aqlm;
  if (args.bits > 0 && (typed || options.format == OutputFormat::hf)) {
    throw UsageError("--bits is for gptq, compressed-tensors and pare" +
                     (typed ? "; " + std::string(name_of(options.format)) + " has --type" : ""));
  }
  if (args.group != 0 && args.bits == 0) throw UsageError("--group goes with --bits");
  if (args.group < -1) throw UsageError("--group " + std::to_string(args.group) + ": expected inputs, or -1 for a row");
  if (args.gptq_version > 0 && options.format != OutputFormat::gptq) {
    throw UsageError("--gptq-version goes with --format gptq");
  }
  if (args.dequantize && (!args.type.empty() || args.bits > 0)) {
    throw UsageError(std::string("--dequantize writes weights dense, ") + (args.bits > 0 ? "--bits" : "--type") +
                     " does not: leave one out");
  }
  if (!args.split.empty()) options.split_bytes = parse_bytes(args.split, "--split");
  refuse_split_of_other_formats(options.split_bytes, options.format);
  options.gguf_name = out.gguf_name();
  options.dequantize = args.dequantize;
  options.lossy = args.lossy;
  options.type = args.type;
  options.bits = args.bits;
  options.group = args.group;
  if (args.gptq_version > 0) options.gptq_version = args.gptq_version == 1 ? GptqVersion::v1 : GptqVersion::v2;
  if (!args.dtype.empty()) options.dtype = parse_dtype(args.dtype);
  return options;
}

void run_convert(const ConvertArgs& args, const Console& console) {
  const ModelOutput out(args.out);
  const ConvertOptions options = options_of(args, out);
  const fs::path inputs[] = {args.model};
  if (!args.dry_run) OutputFolder::finish_killed(out.path());
  OutputFolder::check(out.path(), inputs);
  const ModelFiles source = ModelFiles::open(args.model);
  const Conversion conversion = plan_conversion(source, options);
  const ExportSizes sizes = export_sizes(conversion.job);
  const std::vector<std::string> files = out.files(sizes, {});
  std::vector<std::string> notes = conversion.notes;
  for (std::string& note : export_notes(conversion.job)) notes.push_back(std::move(note));
  for (const std::string& change : conversion.changes) log_line(Level::info, change);
  for (const std::string& note : notes) log_line(Level::warning, note);
  log_line(Level::info, format_bytes(source.bytes()) + " -> " + format_bytes(sizes.weight_bytes));
  for (const std::string& line : sizes.lines()) log_line(Level::info, line);
  OutputFolder::check(out.path(), inputs, files);
  if (!args.dry_run) {
    OutputFolder output(out.path(), inputs, files);
    size_t done = 0;
    export_model(conversion.job, output, [&](const std::string& name) {
      set_status_line("writing " + std::to_string(++done) + " of " + std::to_string(conversion.job.parameters.size()) +
                      ": " + name);
    });
    set_status_line("reading back");
    check_export(conversion.job, ModelFiles::open(output.path()));
    set_status_line("");
    output.commit();
  }
  if (console.json) {
    nlohmann::json written = nlohmann::json::array();
    for (size_t i = 0; i < sizes.file_names.size(); ++i) {
      written.push_back({{"name", sizes.file_names[i]}, {"bytes", sizes.file_bytes[i]}});
    }
    const nlohmann::json result = {{"path", out.model(sizes).string()}, {"format", name_of(options.format)},
                                   {"bytes", sizes.weight_bytes},       {"files", written},
                                   {"changes", conversion.changes},     {"notes", notes},
                                   {"written", !args.dry_run}};
    std::printf("%s\n", result.dump(2).c_str());
  } else if (!args.dry_run) {
    log_line(Level::info, "wrote " + out.model(sizes).string() + ", read back, every value compared");
  }
}

}  // namespace

void add_convert(CLI::App& app, Console& console) {
  auto args = std::make_shared<ConvertArgs>();
  CLI::App* command = add_command(app, "convert", "The same weights in another format");
  command->add_option("model", args->model, "Hugging Face folder or .gguf file")->required();
  command->add_option("-o,--out", args->out, "folder to make, or X.gguf: that file")->required()->type_name("OUT");
  command->add_option("--format", args->format,
                      output_formats_text() + " (gguf is the default with --type or -o X.gguf)");
  command->add_option(
      "--type", args->type,
      "of a GGUF's matrices: a type (Q4_K, IQ4_NL ...) or mix (Q4_K_M, Q3_K_S ...); default: what holds "
      "them exactly. Of AQLM's: codebooks x bits (2x8, 3x8g16)");
  command->add_option("--split", args->split,
                      "largest file, such as 2GB: a larger GGUF is written in parts, X-00001-of-00003.gguf and so on");
  command->add_flag("--lossy", args->lossy, "let values change: each number is rounded by itself");
  command
      ->add_option("--bits", args->bits,
                   "gptq, compressed-tensors, pare: round the linears of blocks to grids of so many bits")
      ->check(CLI::Range(2, 8));
  command->add_option("--group", args->group, "of --bits: inputs that share a scale, -1: the whole row (default: 128)");
  command
      ->add_option("--gptq-version", args->gptq_version,
                   "1 or 2, which differ in how zero points are stored (default: 2 when a layer is asymmetric, else 1)")
      ->check(CLI::Range(1, 2));
  command->add_flag("--dequantize", args->dequantize, "write quantized weights dense");
  command->add_option("--dtype", args->dtype, "of dense values; default: as they are, f32 for dequantized ones (exact)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  command->add_flag("--dry-run", args->dry_run, "say what would be written, to the byte, and stop");
  command->add_flag("--json", console.json, "one JSON object on stdout");
  command->footer(
      "Examples:\n"
      "  pare convert model.Q4_K_M.gguf -o dense --format hf\n"
      "  pare convert Llama-3-8B-FP8 -o small.gguf --type Q4_K_M --lossy\n"
      "  pare convert gptq-folder -o packed --format compressed-tensors\n"
      "  pare convert model -o small --format aqlm --type 2x8 --lossy");
  command->callback([args, &console] { run_convert(*args, console); });
}

}  // namespace pare
