#include "pare/pipeline/run/compress.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "pare/base/fingerprint.h"
#include "pare/base/interrupt.h"
#include "pare/base/log.h"
#include "pare/base/resources.h"
#include "pare/base/units.h"
#include "pare/base/version.h"
#include "pare/nn/generate.h"
#include "pare/nn/to_tensor.h"
#include "pare/pipeline/journal.h"
#include "pare/pipeline/methods.h"
#include "pare/pipeline/plan.h"
#include "pare/pipeline/progress.h"
#include "pare/pipeline/report.h"
#include "pare/pipeline/run/block_solver.h"
#include "pare/pipeline/run/calibration.h"
#include "pare/pipeline/run/evaluate.h"
#include "pare/text/windows.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

// GGUF's Q4_1 is exact only when scale * zero is exact in f16 (GridOptions::scale_bits).
int scale_bits_for(OutputFormat format) {
  return format == OutputFormat::gguf ? 7 : 0;
}

class Phases {
 public:
  void begin(const std::string& name) {
    end();
    give_back_free_heap();
    name_ = name;
    started_ = Clock::now();
  }
  void end() {
    if (!name_.empty())
      seconds_[name_] = seconds_.value(name_, 0.0) + std::chrono::duration<double>(Clock::now() - started_).count();
    name_.clear();
  }
  const json& seconds() const { return seconds_; }

 private:
  std::string name_;
  Clock::time_point started_;
  json seconds_ = json::object();
};

class Run {
 public:
  explicit Run(const CompressOptions& options)
      : options_(options),
        files_(ModelFiles::open(options.model)),
        plan_(make_plan(
            files_, options.recipe,
            {options.memory_bytes, options.threads, options.evaluation.tokens, !options.evaluation_text.empty()})) {}

  Exit run();

 private:
  void prepare();
  std::map<std::string, std::string> identity() const;
  void solve_blocks(Journal& journal);
  void solve_one(Journal& journal, DecoderBlock& block, ActivationStore& states, ActivationStore* originals,
                 Progress& progress);
  void load_states(ActivationStore& states) const;
  void write(Journal& journal, OutputFolder& output);
  void check_written(const Journal& journal, const fs::path& folder) const;
  void evaluate_result(const fs::path& folder);
  void write_sample(const fs::path& model);
  Exit judge();
  json build_report(const Journal& journal);
  void show_result(const json& report) const;
  fs::path model_path(const fs::path& folder) const;

  const CompressOptions& options_;
  ModelFiles files_;
  Plan plan_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  CalibrationTokens tokens_;
  Phases phases_;
  Clock::time_point started_ = Clock::now();
  std::vector<std::string> warnings_;
  json evaluation_ = json::object(), goal_ = json::object(), sample_;
};

void Run::prepare() {
  phases_.begin("prepare");
  tokenizer_ = std::make_unique<Tokenizer>(Tokenizer::open(options_.model));
  decoder_ = std::make_unique<Decoder>(files_);
  if (plan_.calibration_tokens > 0 || plan_.held_out_tokens > 0) {
    tokens_ = calibration_tokens(options_.recipe, plan_, options_.evaluation.length, files_, *decoder_, *tokenizer_);
    warnings_ = tokens_.warnings;
  }
  if (!options_.evaluation_text.empty()) {
    const auto ids = tokenizer_->encode(read_text_files({options_.evaluation_text}), false);
    const auto count = std::min(ids.size(), static_cast<size_t>(options_.evaluation.tokens));
    tokens_.evaluation = evaluation_windows(std::span(ids).first(count), options_.evaluation.length);
  }
}

std::map<std::string, std::string> Run::identity() const {
  return {{"model", files_.fingerprint()},
          {"recipe", Fingerprint().add(options_.recipe.to_yaml()).add(name_of(plan_.format)).hex()},
          {"calibration text", Fingerprint().add(tokens_.fingerprint).hex()},
          {"version of Pare", version()}};
}

void Run::load_states(ActivationStore& states) const {
  if (plan_.calibration_tokens == 0) return;
  const auto& windows = tokens_.calibration;
  const int64_t length = static_cast<int64_t>(windows.front().size());
  const auto per_batch = static_cast<size_t>(std::max<int64_t>(1, kBatchTokens / length));
  for (size_t first = 0; first < windows.size(); first += per_batch) {
    const size_t count = std::min(per_batch, windows.size() - first);
    at::Tensor ids = at::empty({static_cast<int64_t>(count), length}, at::kLong);
    int64_t* id = ids.mutable_data_ptr<int64_t>();
    for (size_t i = first; i < first + count; ++i) id = std::copy(windows[i].begin(), windows[i].end(), id);
    states.push_back(decoder_->embed(ids));
  }
}

void Run::solve_one(Journal& journal, DecoderBlock& block, ActivationStore& states, ActivationStore* originals,
                    Progress& progress) {
  BlockJob job;
  job.block = &block;
  std::unique_ptr<DecoderBlock> original;
  if (originals != nullptr) {
    original = std::make_unique<DecoderBlock>(decoder_->block(block.index()));
    job.original = original.get();
  }
  for (const LayerPlan& layer : plan_.layers) {
    if (layer.block == block.index()) job.layers[layer.name] = &layer;
  }
  job.true_sequential = options_.recipe.true_sequential;
  job.keep_bytes = plan_.memory.kept_bytes;
  job.scale_bits = scale_bits_for(plan_.format);
  std::map<std::string, Weight> weights;
  json records = json::array();
  job.on_solved = [&](const SolvedLayer& solved) {
    const Solution& solution = solved.solution;
    weights.emplace(solved.plan->name, solution.weight);
    records.push_back({{"name", solved.plan->name},
                       {"loss", solution.loss},
                       {"relative_loss", solution.relative_loss},
                       {"rtn_loss", solution.rtn_loss},
                       {"damp", solution.damp},
                       {"dead_inputs", solution.dead_inputs},
                       {"rows_kept_rtn", solution.rows_kept_rtn},
                       {"sparsity", solution.sparsity},
                       {"seconds", solved.seconds},
                       {"warnings", solution.warnings}});
    char note[160];
    std::snprintf(note, sizeof note, "%s error %.2e", solved.plan->kind.c_str(), solution.relative_loss);
    const auto done = static_cast<int64_t>(weights.size());
    progress.update(block.index() * static_cast<int64_t>(block.linear_names().size()) + done, note);
    std::snprintf(note, sizeof note, "%s: relative error %.3e, %.1f s", solved.plan->name.c_str(),
                  solution.relative_loss, solved.seconds);
    progress.log(note);
    for (const std::string& warning : solution.warnings) log_line(Level::warning, warning);
  };
  solve_block(job, states, originals);
  journal.append(weights, records);
}

void Run::solve_blocks(Journal& journal) {
  phases_.begin("compress");
  const fs::path spill = plan_.memory.spill_activations ? journal.folder() : fs::path();
  ActivationStore states(spill), originals(spill);
  const int64_t blocks = decoder_->config().layers;
  if (journal.blocks_done() >= blocks) return;  // killed while writing: nothing is left to solve
  load_states(states);
  bool shifted = false;
  for (const LayerPlan& layer : plan_.layers) shifted = shifted || layer.wish.shift != 0;
  if (shifted) load_states(originals);
  if (journal.blocks_done() > 0) {
    log_line(Level::info,
             "going on after block " + std::to_string(journal.blocks_done()) + " of " + std::to_string(blocks));
  }
  Progress progress("layer", static_cast<int64_t>(Decoder::linear_names(decoder_->config()).size()));
  for (int64_t index = 0; index < blocks; ++index) {
    stop_if_interrupted();
    give_back_free_heap();
    const bool done = index < journal.blocks_done();
    if (done && states.batches() == 0) continue;
    DecoderBlock block = decoder_->block(index);
    if (!done) {
      solve_one(journal, block, states, shifted ? &originals : nullptr, progress);
      continue;
    }
    for (const auto& [name, weight] : journal.block(index)) {
      Linear& linear = block.linear(name);
      linear.weight = to_tensor(weight).to(linear.weight.scalar_type());
    }
    if (shifted) forward_block(decoder_->block(index), originals);
    forward_block(block, states);
  }
}

void Run::write(Journal& journal, OutputFolder& output) {
  phases_.begin("write");
  ExportJob job;
  job.source = &files_;
  job.format = plan_.format;
  job.method = plan_.layers.front().wish.method;
  job.damp = plan_.layers.front().wish.damp;
  job.act_order = plan_.layers.front().wish.act_order;
  job.true_sequential = options_.recipe.true_sequential;
  std::map<std::string, const LayerPlan*> solved;
  for (const LayerPlan& layer : plan_.layers) solved[layer.name + ".weight"] = &layer;
  std::map<std::string, const LeftAlone*> alone;
  for (const LeftAlone& item : plan_.left_alone) alone[item.name] = &item;
  for (const ParameterInfo& parameter : files_.parameters()) {
    if (const auto layer = solved.find(parameter.name); layer != solved.end()) {
      const LayerPlan* plan = layer->second;
      job.parameters.push_back(
          {parameter.name, plan->form, [&journal, plan] { return journal.weight(plan->block, plan->name); }});
      continue;
    }
    const LeftAlone* item = alone.at(parameter.name);
    job.parameters.push_back({parameter.name, item->form, [this, item] {
                                Weight weight = files_.read(item->name);
                                const bool same = form_of(weight).kind == item->form.kind &&
                                                  (item->form.kind != WeightForm::Kind::dense ||
                                                   form_of(weight).dtype == item->form.dtype);
                                return same ? weight : dense_weight(weight.shape, item->form.dtype, weight.unpack());
                              }});
  }
  Progress progress("writing", static_cast<int64_t>(job.parameters.size()));
  int64_t done = 0;
  export_model(job, output, [&](const std::string&) { progress.update(++done, ""); });
}

fs::path Run::model_path(const fs::path& folder) const {
  if (plan_.format != OutputFormat::gguf) return folder;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".gguf") return entry.path();
  }
  throw Error(Exit::failed, folder.string() + ": the .gguf file that was written is not there");
}

// What is on disk is what was solved and measured.
void Run::check_written(const Journal& journal, const fs::path& folder) const {
  const ModelFiles written = ModelFiles::open(model_path(folder));
  for (const LayerPlan& layer : plan_.layers) {
    std::vector<float> expected = journal.weight(layer.block, layer.name).unpack();
    const Weight weight = written.read(layer.name + ".weight");
    if (plan_.format == OutputFormat::hf && layer.form.kind != WeightForm::Kind::dense) {
      // dequantized for study: rounded to the dense type on the way
      expected = dense_weight(weight.shape, std::get<Dense>(weight.base).dtype, expected).unpack();
    }
    if (weight.unpack() != expected) {
      throw Error(
          Exit::failed,
          layer.name + ": what was read back from " + folder.string() +
              " differs from what was written; is the disk sound? The journal is kept: run the same command again");
    }
    written.release(layer.name + ".weight");
  }
}

void Run::evaluate_result(const fs::path& folder) {
  if (tokens_.evaluation.empty()) return;
  phases_.begin("evaluate");
  const ModelFiles written = ModelFiles::open(model_path(folder));
  EvaluationOptions options;
  Progress progress("evaluating", 100);
  double behind = 0;  // the original goes first, then the result
  options.progress = [&](double done, std::string_view) {
    progress.update(static_cast<int64_t>(50 * (behind + done)), "");
  };
  const EvaluationReference reference(files_, tokens_.evaluation, options);
  behind = 1;
  const Evaluation after = evaluate(written, reference, options);
  evaluation_ = {
      {"text",
       options_.evaluation_text.empty() ? "kept apart from: " + tokens_.source : options_.evaluation_text.string()},
      {"length", after.length},
      {"tokens", after.tokens},
      {"before", {{"perplexity", *after.against_perplexity}, {"perplexity_stderr", *after.against_perplexity_stderr}}},
      {"after", {{"perplexity", after.perplexity}, {"perplexity_stderr", after.perplexity_stderr}}},
      {"kl", *after.kl},
      {"kl_stderr", *after.kl_stderr},
      {"top1", *after.top1},
      {"top1_stderr", *after.top1_stderr}};
}

// A sentence that the compressed model writes, where the whole of it fits into memory.
void Run::write_sample(const fs::path& model) {
  if (!plan_.memory.writes_sample) return;
  phases_.begin("sample");
  const std::string prompt = "The capital of France is";
  std::vector<int32_t> ids = tokenizer_->encode(prompt, true);
  GenerateOptions options;
  if (tokenizer_->eos()) options.end = {*tokenizer_->eos()};
  const auto length = static_cast<int64_t>(ids.size()) + 24;
  const auto continued = [&](const ModelFiles& files) {
    const Decoder decoder(files);
    auto text = generate(decoder, {ids}, length, options).front();
    text.erase(text.begin(), text.begin() + static_cast<int64_t>(ids.size()));
    return tokenizer_->decode(text);
  };
  sample_ = {{"prompt", prompt}, {"before", continued(files_)}, {"after", continued(ModelFiles::open(model))}};
}

Exit Run::judge() {
  if (evaluation_.empty()) {
    goal_ = {{"met", nullptr}, {"why", "not evaluated"}};
    return Exit::ok;
  }
  const double kl = evaluation_["kl"];
  const double perplexity = evaluation_["after"]["perplexity"];
  char why[160];
  const bool finite = std::isfinite(kl) && std::isfinite(perplexity);
  const bool met = finite && kl <= options_.max_kl;
  if (!finite) {
    std::snprintf(why, sizeof why, "the compressed model's output is not finite");
  } else {
    std::snprintf(why, sizeof why, "KL divergence %.4f nats a token, the bound is %g (--max-kl)", kl, options_.max_kl);
  }
  goal_ = {{"met", met}, {"why", why}};
  return met ? Exit::ok : Exit::goal_missed;
}

json Run::build_report(const Journal& journal) {
  phases_.end();
  json report{{"pare", {{"version", version()}, {"git", git_commit()}, {"compiler", compiler()}}},
              {"command", options_.command},
              {"recipe", options_.recipe.to_yaml()},
              {"model",
               {{"path", options_.model.string()},
                {"architecture", decoder_->config().model_type},
                {"bytes", plan_.bytes_before},
                {"format", files_.format()},
                {"fingerprint", files_.fingerprint()}}},
              {"result",
               {{"path", options_.out.string()},
                {"format", name_of(plan_.format)},
                {"bytes", plan_.sizes.weight_bytes},
                {"planned_bytes", plan_.sizes.weight_bytes},
                {"bits_per_weight", plan_.bits_per_weight}}},
              {"goal", goal_},
              {"evaluation", evaluation_},
              {"resources",
               {{"seconds", std::chrono::duration<double>(Clock::now() - started_).count()},
                {"phases", phases_.seconds()},
                {"peak_rss_bytes", peak_rss_bytes()},
                {"planned_peak_bytes", plan_.memory.peak_bytes},
                {"threads", at::get_num_threads()},
                {"cpu", cpu_name()}}}};
  int64_t parameters = 0;
  for (const ParameterInfo& parameter : files_.parameters()) {
    int64_t elements = 1;
    for (int64_t dim : parameter.shape) elements *= dim;
    parameters += elements;
  }
  report["model"]["parameters"] = parameters;
  std::map<std::string, json> solved;
  for (const json& block : journal.records()) {
    for (const json& layer : block) solved[layer.at("name")] = layer;
  }
  double zeros = 0, weights = 0;
  for (const LayerPlan& layer : plan_.layers) {
    json entry = solved.at(layer.name);
    entry.update(layer.to_json());
    zeros += entry.at("sparsity").get<double>() * static_cast<double>(layer.form.elements());
    weights += static_cast<double>(layer.form.elements());
    for (const json& warning : entry.at("warnings")) warnings_.push_back(warning);
    report["layers"].push_back(std::move(entry));
  }
  report["result"]["sparsity"] = zeros / weights;
  for (const LeftAlone& item : plan_.left_alone)
    report["left_alone"].push_back({{"name", item.name}, {"why", item.why}, {"bytes", item.bytes}});
  if (plan_.calibration_tokens > 0) {
    report["calibration"] = {{"source", tokens_.source},
                             {"samples", tokens_.calibration.size()},
                             {"length", tokens_.calibration.front().size()},
                             {"tokens", tokens_.calibration.size() * tokens_.calibration.front().size()},
                             {"seed", options_.recipe.seed},
                             {"fingerprint", tokens_.fingerprint}};
  }
  if (!sample_.is_null()) report["sample"] = sample_;
  for (const std::string& note : plan_.notes) warnings_.push_back(note);
  report["warnings"] = warnings_;
  return report;
}

void Run::show_result(const json& report) const {
  std::string text;
  char line[256];
  const auto add = [&](const char* what, const std::string& before, const std::string& after) {
    std::snprintf(line, sizeof line, "  %-22s %18s %18s\n", what, before.c_str(), after.c_str());
    text += line;
  };
  const auto number = [](const json& value, const char* format) {
    char digits[48];
    std::snprintf(digits, sizeof digits, format, value.get<double>());
    return std::string(digits);
  };
  add("", "before", "after");
  add("weight files", format_bytes(plan_.bytes_before), format_bytes(plan_.sizes.weight_bytes));
  if (!evaluation_.empty()) {
    add("perplexity", number(evaluation_["before"]["perplexity"], "%.3f"),
        number(evaluation_["after"]["perplexity"], "%.3f"));
    add("KL divergence", "", number(evaluation_["kl"], "%.4f nats"));
    add("same first choice", "", number(evaluation_["top1"].get<double>() * 100, "%.1f %%"));
  }
  add("took", "", format_duration(report["resources"]["seconds"]));
  add("peak memory", "", format_bytes(report["resources"]["peak_rss_bytes"]));
  text += "\n  model   " + options_.out.string() + "\n  report  " + (options_.out / "report.html").string() + "\n";
  if (!sample_.is_null())
    text += "\n  it writes: " + sample_["prompt"].get<std::string>() + sample_["after"].get<std::string>() + "\n";
  if (goal_["met"] == false) text += "\n  GOAL MISSED: " + goal_["why"].get<std::string>() + ". The result is kept.\n";
  log_line(Level::info, text);
}

Exit Run::run() {
  if (options_.threads > 0) at::set_num_threads(options_.threads);
  log_line(Level::info, plan_.text());
  const std::vector<fs::path> inputs{options_.model};
  OutputFolder::check(options_.out, inputs);
  require_free_space(options_.out, plan_.disk_bytes);
  prepare();
  fs::path journal_path = options_.out;
  journal_path += ".journal";
  Journal journal(journal_path, identity());
  solve_blocks(journal);
  OutputFolder output(options_.out, inputs);
  write(journal, output);
  check_written(journal, output.path());
  evaluate_result(output.path());
  write_sample(model_path(output.path()));
  const Exit verdict = judge();
  const json report = build_report(journal);
  output.write_file("recipe.yaml", options_.recipe.to_yaml());
  output.write_file("report.json", report.dump(1) + "\n");
  output.write_file("report.html", report_html({report}));
  output.commit();
  journal.remove();
  if (options_.json) std::printf("%s\n", report.dump(1).c_str());
  show_result(report);
  return verdict;
}

}  // namespace

Exit compress(const CompressOptions& options) {
  try {
    return Run(options).run();
  } catch (const Interrupted&) {
    set_status_line("");
    log_line(Level::info, "stopped; every solved block is kept. To go on: " + options.command);
    throw;
  }
}

}  // namespace pare
