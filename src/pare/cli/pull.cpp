// pare pull ORG/NAME[:FILE]: a model of the hub into the cache that Python's libraries use too. Its path is all that
// goes to stdout: pare run $(pare pull ORG/NAME).

#include "pare/hub/pull.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/base/log.h"
#include "pare/base/units.h"
#include "pare/cli/commands.h"
#include "pare/pipeline/progress.h"

namespace pare {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct PullArgs {
  std::string name, revision = "main", endpoint, cache;
  std::vector<std::string> include, exclude;
  int jobs = 8;
  bool dry_run = false, quiet = false;
};

std::string count_of(size_t files) {
  return std::to_string(files) + (files == 1 ? " file" : " files");
}

void say_plan(const PullResult& plan, const PullArgs& args) {
  if (!plan.choice.left_out.empty()) {
    log_line(Level::info, "left out: " + count_of(plan.choice.left_out.size()) + " of other frameworks (" +
                              format_bytes(total_bytes(plan.choice.left_out)) + ": " + plan.choice.left_out[0].path +
                              (plan.choice.left_out.size() > 1 ? ", ..." : "") + "); --include '*' loads them too");
  }
  if (args.dry_run) {
    for (const HubFile& file : plan.choice.files) log_line(Level::info, file.path + "  " + format_bytes(file.bytes));
  }
  const std::string whole = count_of(plan.choice.files.size()) + ", " + format_bytes(total_bytes(plan.choice.files));
  log_line(Level::info, args.name + " at " + plan.commit.substr(0, 12) + ": " + whole +
                            (plan.missing_files == 0 ? ", all in the cache"
                                                     : "; to load: " + count_of(plan.missing_files) + ", " +
                                                           format_bytes(plan.missing_bytes)));
}

// The line on a terminal.
class PullLine {
 public:
  void show(const PullProgress& now) {
    const auto time = Clock::now();
    if (!left_) left_.emplace(static_cast<int64_t>(now.bytes));
    left_->update(static_cast<int64_t>(now.bytes_done), time);
    std::string text = "pull " + std::to_string(now.files_done) + "/" + count_of(now.files) + ", " +
                       format_bytes(now.bytes_done) + " of " + format_bytes(now.bytes);
    if (const auto seconds = left_->seconds(time); seconds && *seconds > 0) {
      const double rate = static_cast<double>(now.bytes - std::min(now.bytes, now.bytes_done)) / *seconds;
      text += ", " + format_bytes(static_cast<uint64_t>(rate)) + "/s, " + format_duration(*seconds) + " left";
    }
    set_status_line(text.substr(0, 79));
    last_ = now;
  }
  const PullProgress& last() const { return last_; }

 private:
  std::optional<TimeLeft> left_;
  PullProgress last_;
};

json as_json(const PullResult& result, const PullOptions& options, double seconds) {
  json files = json::array();
  for (const HubFile& file : result.choice.files) {
    json entry = {{"name", file.path}, {"bytes", file.bytes}};
    if (!file.blob().empty()) entry[file.sha256.empty() ? "git_sha1" : "sha256"] = file.blob();
    files.push_back(std::move(entry));
  }
  json left_out = json::array();
  for (const HubFile& file : result.choice.left_out) left_out.push_back(file.path);
  return {{"repo", options.repo},
          {"revision", options.revision},
          {"commit", result.commit},
          {"path", result.path.string()},
          {"files", files},
          {"left_out", left_out},
          {"bytes", total_bytes(result.choice.files)},
          {"missing_files", result.missing_files},
          {"missing_bytes", result.missing_bytes},
          {"written", !options.dry_run},
          {"seconds", seconds}};
}

void run_pull(const PullArgs& args, const Console& console) {
  if (args.quiet) set_log_level(Level::warning);
  PullOptions options;
  options.settings = hub_settings(args.endpoint, args.cache);
  const HubName name = parse_hub_name(args.name, options.settings);
  options.repo = name.repo;
  options.revision = args.revision;
  options.wish = {name.file, args.include, args.exclude};
  options.jobs = args.jobs;
  options.dry_run = args.dry_run;
  if (const std::string fault = fault_of_path(args.revision); !fault.empty()) {
    throw UsageError("pull: --revision " + fault);
  }
  if (!name.file.empty() && !(args.include.empty() && args.exclude.empty())) {
    throw UsageError("pull: " + args.name + " names one file already; --include and --exclude go with a whole model");
  }
  const auto start = Clock::now();
  PullLine line;
  try {
    const PullResult result = pull(options, {[&](const PullResult& plan) { say_plan(plan, args); },
                                             [&](const PullProgress& now) { line.show(now); }});
    set_status_line("");
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (result.missing_files > 0 && !args.dry_run) {
      log_line(Level::info, "loaded " + format_bytes(result.missing_bytes) + " in " + format_duration(seconds) +
                                ", every hash checked");
    }
    const std::string answer = console.json ? dump_json(as_json(result, options, seconds), 2) : result.path.string();
    if (!args.dry_run || console.json) std::printf("%s\n", answer.c_str());
    if (std::fflush(stdout) != 0) throw ResourceError("pull: standard output cannot be written");
  } catch (const Interrupted&) {
    set_status_line("");
    const PullProgress& last = line.last();
    log_line(Level::warning, last.bytes == 0
                                 ? "pull: stopped before the first file"
                                 : "pull: stopped with " + format_bytes(last.bytes_done) + " of " +
                                       format_bytes(last.bytes) + " loaded; the same command goes on from there");
    throw;
  }
}

}  // namespace

void add_pull(CLI::App& app, Console& console) {
  auto args = std::make_shared<PullArgs>();
  CLI::App* command = app.add_subcommand("pull", "A model from the hub, into the cache of huggingface_hub");
  command->add_option("name", args->name, "ORG/NAME, or ORG/NAME:FILE; for GGUF also a type, ORG/NAME:Q4_K_M")
      ->required();
  command->add_option("--revision", args->revision, "branch, tag or commit")->capture_default_str();
  command->add_option("--endpoint", args->endpoint, "the hub's address; default HF_ENDPOINT or https://huggingface.co");
  command->add_option("--cache", args->cache, "default HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub")
      ->type_name("FOLDER");
  command->add_option("--include", args->include, "only the files that fit, several times")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  command->add_option("--exclude", args->exclude, "none of the files that fit, several times")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  command->add_option("--jobs", args->jobs, "files at once")->check(CLI::Range(1, 64))->capture_default_str();
  command->add_flag("--dry-run", args->dry_run, "say what would be loaded, and stop");
  command->add_flag("--json", console.json, "one JSON object on stdout");
  command->add_flag("--quiet", args->quiet, "only warnings on stderr");
  command->footer(
      "The token comes from HF_TOKEN or from the file that `hf auth login` writes, and goes to the hub alone.\n"
      "Examples:\n"
      "  pare run $(pare pull HuggingFaceTB/SmolLM2-135M-Instruct) \"What is a prime number?\"\n"
      "  pare pull bartowski/SmolLM2-135M-Instruct-GGUF:Q4_K_M");
  command->callback([args, &console] { run_pull(*args, console); });
}

}  // namespace pare
