// pare report OUT... [-o FILE.html] [--json]
//
// The figures of finished runs, again: as lines on stdout, or as one page, several runs side by side.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/cli/commands.h"
#include "pare/io/output_folder.h"
#include "pare/pipeline/report.h"
#include "pare/pipeline/report_page.h"

namespace pare {
namespace {

struct ReportArgs {
  std::vector<std::string> runs;
  std::string out;
};

// Only a page that Pare drew is written over.
void check_may_write(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return;
  std::string begin(kPageMark.size(), '\0');
  std::ifstream(path, std::ios::binary).read(begin.data(), static_cast<std::streamsize>(begin.size()));
  if (begin != kPageMark) {
    throw UsageError(path.string() + ": exists and is not a page that Pare drew. Name another file with -o.");
  }
}

void run_report(const ReportArgs& args, const Console& console) {
  std::vector<nlohmann::json> reports;
  for (const std::string& run : args.runs) reports.push_back(read_report(run));
  if (!args.out.empty()) {
    check_may_write(args.out);
    write_file_atomically(args.out, report_html(reports));
    log_line(Level::info, "wrote " + args.out);
  }
  if (console.json) {
    nlohmann::json result = {{"runs", nlohmann::json::array()}};
    for (size_t i = 0; i < reports.size(); ++i) {
      result["runs"].push_back({{"path", args.runs[i]}, {"report", std::move(reports[i])}});
    }
    std::printf("%s\n", result.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else if (args.out.empty()) {
    std::fputs(report_text(reports).c_str(), stdout);
    log_line(Level::info, "The page with the charts: add -o FILE.html");
  }
}

}  // namespace

void add_report(CLI::App& app, Console& console) {
  auto args = std::make_shared<ReportArgs>();
  CLI::App* command = add_command(app, "report", "What runs did and what it cost; several are compared");
  command->add_option("runs", args->runs, "folders or .gguf files that `pare compress` made, or report.json files")
      ->required()
      ->type_name("OUT");
  command->add_option("-o,--out", args->out, "draw a self-contained page")->type_name("FILE.html");
  command->add_flag("--json", console.json, "one JSON object on stdout");
  command->footer(
      "Examples:\n"
      "  pare report small/\n"
      "  pare report four-bit/ three-bit/ -o compared.html");
  command->callback([args, &console] { run_report(*args, console); });
}

}  // namespace pare
