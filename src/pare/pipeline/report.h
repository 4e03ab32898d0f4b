// What a run did and what it cost, for machines (report.json) and people (report.html).
//
// The JSON is the report; the page is drawn from it alone, so `pare report` can draw it again and compare several.
// Keys (all optional for the reader: a report from a run that stopped early still draws):
//
//   pare        {version, git, compiler, torch}      command   "pare compress ..."      seed
//   recipe      {...} as in recipe.yaml
//   model       {path, architecture, parameters, bytes, format, fingerprint}
//   result      {path, format, bytes, planned_bytes, bits_per_weight, sparsity}
//   layers      [{name, kind: "q_proj", block: 0, shape: [out, in], method, form: "4-bit, groups of 64", loss,
//                 relative_loss, rtn_loss, damp, identity_gap, dead_inputs, rows_kept_rtn, sparsity, bytes_before,
//                 bytes_after, seconds, warnings: []}]            in the order of the model
//   left_alone  [{name, why, bytes}]
//   calibration {source, samples, length, tokens, seed, fingerprint}
//   evaluation  {text, length, tokens, before: {perplexity, perplexity_stderr}, after: {...},
//                kl, kl_stderr, top1, top1_stderr}
//   goal        {met: true, why: "KL 0.021 is within 0.5"}
//   resources   {seconds, phases: {"calibrate": 12.1, ...}, peak_rss_bytes, planned_peak_bytes, threads, cpu}
//   sample      {prompt, before, after}              text that the model wrote
//   warnings    ["..."]
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace pare {

// One self-contained page: no script or font from elsewhere, readable on a phone, light and dark. One report: its
// figures; several: side by side, with the recipes' differences first.
std::string report_html(const std::vector<nlohmann::json>& reports);

// The main figures as lines of text, a row for each report.
std::string report_text(const std::vector<nlohmann::json>& reports);

// The report of an output folder or .gguf file (or a report.json itself). InputError naming the path.
nlohmann::json read_report(const std::filesystem::path& path);

}  // namespace pare
