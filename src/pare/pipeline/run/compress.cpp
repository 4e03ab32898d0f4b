#include "pare/pipeline/run/compress.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "pare/base/error.h"
#include "pare/base/fingerprint.h"
#include "pare/base/interrupt.h"
#include "pare/base/json.h"
#include "pare/base/log.h"
#include "pare/base/paths.h"
#include "pare/base/resources.h"
#include "pare/base/units.h"
#include "pare/base/version.h"
#include "pare/nn/generate.h"
#include "pare/nn/to_tensor.h"
#include "pare/pipeline/importance.h"
#include "pare/pipeline/journal.h"
#include "pare/pipeline/methods.h"
#include "pare/pipeline/model_output.h"
#include "pare/pipeline/plan.h"
#include "pare/pipeline/progress.h"
#include "pare/pipeline/report.h"
#include "pare/pipeline/run/block_solver.h"
#include "pare/pipeline/run/calibration.h"
#include "pare/pipeline/run/evaluate.h"
#include "pare/pipeline/run/fisher_cache.h"
#include "pare/pipeline/run/run_report.h"
#include "pare/pipeline/run/table_solver.h"
#include "pare/pipeline/run/type_choice.h"
#include "pare/pipeline/tensor_types.h"
#include "pare/text/windows.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kRecipeFile = "recipe.yaml";
constexpr const char* kReportFile = "report.json";
constexpr const char* kPageFile = "report.html";

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
        recipe_(options.recipe),
        out_(options.out),
        plan_options_{options.memory_bytes, options.threads, options.evaluation.tokens,
                      !options.evaluation_text.empty(), out_.gguf_name()},
        files_(ModelFiles::open(options_.model)),
        plan_(make_plan(files_, recipe_, plan_options_)) {
    if (!options.recipe.imatrix.empty()) importance_.emplace(options.recipe.imatrix, files_, plan_.layers);
  }

  Exit run();

 private:
  void prepare();
  std::map<std::string, std::string> identity() const;
  void measure_fisher();
  FisherJob fisher_job() const;
  void settle_types(const fs::path& folder);
  void solve_blocks(Journal& journal);
  void solve_tables(Journal& journal, const ActivationStore& states, Progress& progress);
  void solve_one(Journal& journal, DecoderBlock& block, ActivationStore& states, ActivationStore* originals,
                 Progress& progress);
  void load_states(ActivationStore& states) const;
  LayerHessian known_curvature(const LayerPlan& layer) const;
  ExportJob export_job(const Journal& journal) const;
  void write(const ExportJob& job, OutputFolder& output);
  void check_written(const ExportJob& job, const fs::path& folder);
  void evaluate_result(const fs::path& folder);
  void write_sample(const fs::path& model);
  Exit judge();
  RunFacts facts() const;
  bool finished_before(const fs::path& journal_path) const;
  std::vector<std::string> output_files() const;

  CompressOptions options_;
  Recipe recipe_;  // that of the options, with the types that were chosen
  ModelOutput out_;
  PlanOptions plan_options_;
  ModelFiles files_;
  Plan plan_;
  std::optional<PlannedImportance> importance_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  CalibrationTokens tokens_;
  OutputFisher fisher_;  // where the recipe is guided by it
  Phases phases_;
  Clock::time_point started_ = Clock::now();
  uint64_t result_bytes_ = 0;
  json evaluation_ = json::object(), goal_ = json::object(), sample_;
};

void Run::prepare() {
  phases_.begin("prepare");
  tokenizer_ = std::make_unique<Tokenizer>(Tokenizer::open(options_.model));
  decoder_ = std::make_unique<Decoder>(files_);
  if (plan_.calibration_tokens > 0 || plan_.held_out_tokens > 0) {
    tokens_ = calibration_tokens(options_.recipe, plan_, options_.evaluation.length, files_, *decoder_, *tokenizer_);
  }
  if (!options_.evaluation_text.empty() && options_.evaluation.tokens > 0) {
    const auto ids = tokenizer_->encode(read_text_files({options_.evaluation_text}), false);
    const auto count = std::min(static_cast<int64_t>(ids.size()), options_.evaluation.tokens);
    if (count < 2) throw InputError(options_.evaluation_text.string() + ": no token in it to predict");
    tokens_.evaluation = evaluation_windows(std::span(ids).first(static_cast<size_t>(count)),
                                            std::min(options_.evaluation.length, count));
  }
}

std::map<std::string, std::string> Run::identity() const {
  return {{"model", files_.fingerprint()},
          {"recipe", Fingerprint().add(options_.recipe.to_yaml()).add(name_of(plan_.format)).hex()},
          {"calibration text", tokens_.fingerprint},
          {"importance matrix", importance_ ? importance_->fingerprint() : ""},
          {"version of Pare", version() + " " + git_commit()}};
}

void Run::load_states(ActivationStore& states) const {
  if (plan_.calibration_tokens > 0) embed_windows(*decoder_, tokens_.calibration, plan_.memory, states);
}

// Of the importance matrix, where there is one that has the layer.
LayerHessian Run::known_curvature(const LayerPlan& layer) const {
  LayerHessian curvature;
  const ImportanceMatrix::Entry* entry = importance_ ? importance_->find(layer.name + ".weight") : nullptr;
  if (entry == nullptr) return curvature;
  curvature.sum_sq = at::empty({entry->inputs()}, at::kDouble);
  std::copy(entry->sums.begin(), entry->sums.end(), curvature.sum_sq.data_ptr<double>());
  curvature.tokens = std::max<int64_t>(1, std::llround(entry->counts[0]));
  return curvature;
}

json record_of(const SolvedLayer& solved) {
  const Solution& solution = solved.solution;
  return {{"name", solved.plan->name},
          {"loss", solution.loss},
          {"relative_loss", solution.relative_loss},
          {"rtn_loss", solution.rtn_loss},
          {"identity_gap", solution.identity_gap},
          {"damp", solution.damp},
          {"dead_inputs", solution.dead_inputs},
          {"rows_kept_rtn", solution.rows_kept_rtn},
          {"sparsity", solution.sparsity},
          {"seconds", solved.seconds},
          {"warnings", solution.warnings}};
}

void tell(const SolvedLayer& solved, int64_t done, Progress& progress) {
  char note[160];
  std::snprintf(note, sizeof note, "%s error %.2e", solved.plan->kind.c_str(), solved.solution.relative_loss);
  progress.update(done, note);
  std::snprintf(note, sizeof note, "%s: relative error %.3e, %.1f s", solved.plan->name.c_str(),
                solved.solution.relative_loss, solved.seconds);
  progress.log(note);
  for (const std::string& warning : solved.solution.warnings) log_line(Level::warning, warning);
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
  if (!fisher_.of_tokens.empty()) job.token_weights = fisher_.of_tokens[static_cast<size_t>(block.index())];
  if (importance_) job.known_curvature = [this](const LayerPlan& layer) { return known_curvature(layer); };
  std::map<std::string, Weight> weights;
  json records = json::array();
  job.on_solved = [&](const SolvedLayer& solved) {
    weights.emplace(solved.plan->name, solved.solution.weight);
    records.push_back(record_of(solved));
    const auto done = static_cast<int64_t>(weights.size());
    tell(solved, block.index() * static_cast<int64_t>(block.linear_names().size()) + done, progress);
  };
  solve_block(job, states, originals);
  journal.append(weights, records);
}

// Types for the wanted size, as layers of the recipe. Kept beside the journal's blocks.
void Run::settle_types(const fs::path& folder) {
  if (!plan_.chooses_types) return;
  const fs::path kept = folder / "types.yaml";
  if (fs::exists(kept)) {
    recipe_ = Recipe::from_file(kept);
  } else {
    measure_fisher();
    phases_.begin("choose types");
    const TypeChoice choice = choose_types(
        {&files_, decoder_.get(), &recipe_, &plan_, plan_options_, &tokens_, &fisher_, fisher_key(fisher_job())});
    recipe_ = with_types(recipe_, choice.types);
    write_file_atomically(kept, recipe_.to_yaml());
    char predicted[64] = "";  // without gradients the losses are squared errors of outputs
    if (!fisher_.of_outputs.empty()) {
      std::snprintf(predicted, sizeof predicted, "; predicted KL divergence %.4f nats a token", choice.predicted_kl);
    }
    log_line(Level::info, std::string("types chosen") + predicted);
  }
  plan_ = make_plan(files_, recipe_, plan_options_);
  log_line(Level::info, plan_.text());
}

void Run::measure_fisher() {
  if (!fisher_.of_tokens.empty() || !options_.recipe.is_guided() || tokens_.calibration.empty()) return;
  phases_.begin("gradients");
  fisher_ = cached_fisher(fisher_job());
}

FisherJob Run::fisher_job() const {
  return {&files_, decoder_.get(), &tokens_, options_.recipe.seed, plan_.memory.checkpoint_bytes};
}

void Run::solve_blocks(Journal& journal) {
  phases_.begin("compress");
  const fs::path spill = plan_.memory.spill_activations ? journal.folder() : fs::path();
  ActivationStore states(spill), originals(spill);
  const int64_t blocks = decoder_->config().layers;
  const bool tables = std::any_of(plan_.layers.begin(), plan_.layers.end(), [](const auto& l) { return l.is_table(); });
  if (journal.blocks_done() >= blocks + (tables ? 1 : 0)) return;  // killed while writing: nothing is left to solve
  measure_fisher();
  phases_.begin("compress");
  load_states(states);
  bool shifted = false;
  for (const LayerPlan& layer : plan_.layers) shifted = shifted || layer.wish.shift != 0;
  if (shifted) load_states(originals);
  if (journal.blocks_done() > 0) {
    log_line(Level::info,
             "going on after block " + std::to_string(journal.blocks_done()) + " of " + std::to_string(blocks));
  }
  Progress progress("layer", static_cast<int64_t>(Decoder::linear_names(decoder_->config()).size()) + (tables ? 1 : 0));
  for (int64_t index = 0; index < blocks; ++index) {
    stop_if_interrupted();
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
  if (tables) solve_tables(journal, states, progress);
}

// Embedding and head, as the journal's last block.
void Run::solve_tables(Journal& journal, const ActivationStore& states, Progress& progress) {
  std::map<std::string, Weight> weights;
  json records = json::array();
  for (const LayerPlan& layer : plan_.layers) {
    if (!layer.is_table()) continue;
    const auto started = Clock::now();
    const bool looked_up = layer.kind == "embed" && !decoder_->config().tied_embeddings;
    const Table table{&files_, decoder_.get(), layer.name, looked_up, fisher_.of_embedding, known_curvature(layer)};
    SolvedLayer solved{&layer, solve_table(table, layer, states), 0};
    solved.seconds = std::chrono::duration<double>(Clock::now() - started).count();
    weights.emplace(layer.name, solved.solution.weight);
    records.push_back(record_of(solved));
    tell(solved, static_cast<int64_t>(Decoder::linear_names(decoder_->config()).size()) + 1, progress);
  }
  journal.append(weights, records);
}

ExportJob Run::export_job(const Journal& journal) const {
  ExportJob job;
  job.source = &files_;
  job.format = plan_.format;
  job.gguf_mix = recipe_.wish.type.value_or("");
  job.gguf_name = out_.gguf_name();
  job.split_bytes = recipe_.split;
  const LayerWish& wish = plan_.main_wish();
  job.method = wish.method;
  job.damp = wish.damp;
  job.act_order = wish.act_order;
  job.static_groups = wish.static_groups;
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
  return job;
}

void Run::write(const ExportJob& job, OutputFolder& output) {
  phases_.begin("write");
  Progress progress("writing", static_cast<int64_t>(job.parameters.size()));
  int64_t done = 0;
  export_model(job, output, [&](const std::string&) { progress.update(++done, ""); });
}

// What is on disk is what was solved, and as large as was planned.
void Run::check_written(const ExportJob& job, const fs::path& folder) {
  const ModelFiles written = ModelFiles::open(folder);
  result_bytes_ = written.bytes();
  if (result_bytes_ != plan_.sizes.weight_bytes) {
    throw Error(Exit::failed, folder.string() + ": " + std::to_string(result_bytes_) + " bytes were written and " +
                                  std::to_string(plan_.sizes.weight_bytes) + " planned; please report this");
  }
  check_export(job, written);
}

void Run::evaluate_result(const fs::path& folder) {
  if (tokens_.evaluation.empty()) return;
  phases_.begin("evaluate");
  const ModelFiles written = ModelFiles::open(folder);
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

RunFacts Run::facts() const {
  return {.options = options_,
          .result = out_.model(plan_.sizes),
          .page = out_.place_of(kPageFile),
          .recipe = recipe_,
          .files = files_,
          .plan = plan_,
          .tokens = tokens_,
          .evaluation = evaluation_,
          .goal = goal_,
          .sample = sample_,
          .architecture = decoder_->config().model_type,
          .result_bytes = result_bytes_,
          .seconds = std::chrono::duration<double>(Clock::now() - started_).count(),
          .phases = phases_.seconds()};
}

// Of a run that makes a file and not a folder.
std::vector<std::string> Run::output_files() const {
  return out_.files(plan_.sizes, {kRecipeFile, kReportFile, kPageFile});
}

// Killed between the output's appearing and the journal's going: the journal is all that is left to do.
bool Run::finished_before(const fs::path& journal_path) const {
  const fs::path report_path = out_.place_of(kReportFile);
  if (!fs::exists(journal_path) || !fs::exists(report_path)) return false;
  const json report = read_report(report_path);
  return report.is_object() && report.value("asked", report.value("recipe", json())) == options_.recipe.to_json() &&
         report.value("model", json::object()).value("fingerprint", "") == files_.fingerprint();
}

Exit Run::run() {
  if (options_.threads > 0) at::set_num_threads(options_.threads);
  log_line(Level::info, plan_.text());
  const std::vector<fs::path> inputs{options_.model};
  fs::path journal_path = out_.path();
  journal_path += ".journal";
  OutputFolder::finish_killed(out_.path());
  if (finished_before(journal_path)) {
    fs::remove_all(journal_path);
    log_line(Level::info, out_.path().string() + ": was finished already; nothing is left to do");
    const json report = read_report(out_.place_of(kReportFile));
    return report.value("goal", json::object()).value("met", json()) == false ? Exit::goal_missed : Exit::ok;
  }
  OutputFolder::check(out_.path(), inputs, output_files());
  const uint64_t there = bytes_in_folder(journal_path);
  require_free_space(out_.path(), plan_.disk_bytes - std::min(there, plan_.disk_bytes));
  prepare();
  Journal journal(journal_path, identity());
  settle_types(journal.folder());
  OutputFolder::check(out_.path(), inputs, output_files());  // with other types a file has other parts
  solve_blocks(journal);
  OutputFolder output(out_.path(), inputs, output_files());
  const ExportJob job = export_job(journal);
  write(job, output);
  check_written(job, output.path());
  evaluate_result(output.path());
  write_sample(output.path());
  const Exit verdict = judge();
  phases_.end();
  const json report = run_report(facts(), journal.records());
  output.write_file(out_.companion(kRecipeFile), recipe_.to_yaml());
  output.write_file(out_.companion(kReportFile), dump_json(report, 1) + "\n");
  output.write_file(out_.companion(kPageFile), report_html({report}));
  output.commit();
  journal.remove();
  if (options_.json) std::printf("%s\n", dump_json(report, 1).c_str());
  log_line(Level::info, result_text(facts(), report));
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
