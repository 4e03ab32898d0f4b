// pare convert MODEL -o OUT --format hf|gptq|compressed-tensors|gguf [--dequantize] [--dtype f16]
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

namespace pare {
namespace {

namespace fs = std::filesystem;

struct ConvertArgs {
  std::string model, out, format, dtype;
  bool dequantize = false, dry_run = false;
};

Dtype parse_dtype(const std::string& text) {
  return text == "f16" ? Dtype::f16 : text == "bf16" ? Dtype::bf16 : Dtype::f32;
}

void run_convert(const ConvertArgs& args, const Console& console) {
  ConvertOptions options;
  options.format = parse_output_format(args.format);
  options.dequantize = args.dequantize;
  if (!args.dtype.empty()) options.dtype = parse_dtype(args.dtype);
  if (fs::path(args.out).extension() == ".gguf") {
    throw UsageError(args.out + ": OUT is a folder; the .gguf file in it is named after the model and its type");
  }
  const fs::path inputs[] = {args.model};
  OutputFolder::check(args.out, inputs);
  const ModelFiles source = ModelFiles::open(args.model);
  const Conversion conversion = plan_conversion(source, options);
  const ExportSizes sizes = export_sizes(conversion.job);
  const std::vector<std::string> notes = export_notes(conversion.job);
  for (const std::string& change : conversion.changes) log_line(Level::info, change);
  for (const std::string& note : notes) log_line(Level::warning, note);
  log_line(Level::info, format_bytes(source.bytes()) + " -> " + format_bytes(sizes.weight_bytes));
  if (!args.dry_run) {
    OutputFolder output(args.out, inputs);
    size_t done = 0;
    export_model(conversion.job, output, [&](const std::string& name) {
      set_status_line("writing " + std::to_string(++done) + " of " + std::to_string(conversion.job.parameters.size()) +
                      ": " + name);
    });
    set_status_line("reading back");
    const fs::path written = options.format == OutputFormat::gguf ? output.path() / sizes.file_names[0] : output.path();
    check_export(conversion.job, ModelFiles::open(written));
    set_status_line("");
    output.commit();
  }
  if (console.json) {
    nlohmann::json files = nlohmann::json::array();
    for (size_t i = 0; i < sizes.file_names.size(); ++i) {
      files.push_back({{"name", sizes.file_names[i]}, {"bytes", sizes.file_bytes[i]}});
    }
    const nlohmann::json result = {
        {"path", args.out},        {"format", name_of(options.format)}, {"bytes", sizes.weight_bytes},
        {"files", files},          {"changes", conversion.changes},     {"notes", notes},
        {"written", !args.dry_run}};
    std::printf("%s\n", result.dump(2).c_str());
  } else if (!args.dry_run) {
    log_line(Level::info, "wrote " + args.out + ", read back, every value compared");
  }
}

}  // namespace

void add_convert(CLI::App& app, Console& console) {
  auto args = std::make_shared<ConvertArgs>();
  CLI::App* command = add_command(app, "convert", "The same weights in another format");
  command->add_option("model", args->model, "Hugging Face folder or .gguf file")->required();
  command->add_option("-o,--out", args->out, "folder to make")->required()->type_name("OUT");
  command->add_option("--format", args->format, "hf, gptq, compressed-tensors or gguf")->required();
  command->add_flag("--dequantize", args->dequantize, "write quantized weights dense");
  command->add_option("--dtype", args->dtype, "of dense values; default: as they are, f32 for dequantized ones (exact)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  command->add_flag("--dry-run", args->dry_run, "say what would be written, to the byte, and stop");
  command->add_flag("--json", console.json, "one JSON object on stdout");
  command->footer(
      "Examples:\n"
      "  pare convert model.Q4_K_M.gguf -o dense --format hf --dtype f16\n"
      "  pare convert gptq-folder -o packed --format compressed-tensors");
  command->callback([args, &console] { run_convert(*args, console); });
}

}  // namespace pare
