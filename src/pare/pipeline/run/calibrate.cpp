#include "pare/pipeline/run/calibrate.h"

#include <ATen/Parallel.h>

#include <chrono>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/base/log.h"
#include "pare/curvature/layer_hessian.h"
#include "pare/io/output_folder.h"
#include "pare/nn/decoder.h"
#include "pare/pipeline/plan.h"
#include "pare/pipeline/progress.h"
#include "pare/pipeline/run/calibration.h"
#include "pare/weights/decoder_names.h"
#include "pare/weights/gguf_model.h"
#include "pare/weights/importance_matrix.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using Keep = HessianAccumulator::Keep;

// Wanda takes the same of each block, the diagonal in one pass: its plan has the memory and the batches of this.
Recipe like_wanda(const CalibrateOptions& options) {
  Recipe recipe;
  recipe.wish.method = "wanda";
  recipe.wish.sparsity = Pattern{.sparsity = 0.5};
  recipe.format = "hf";
  recipe.calibration = options.calibration;
  recipe.true_sequential = false;
  recipe.seed = options.seed;
  return recipe;
}

ImportanceMatrix::Entry entry_of(const LayerHessian& curvature) {
  ImportanceMatrix::Entry entry;
  const double* sums = curvature.sum_sq.const_data_ptr<double>();
  entry.sums.assign(sums, sums + curvature.sum_sq.numel());
  entry.counts = {static_cast<double>(curvature.tokens)};
  return entry;
}

class Gatherer {
 public:
  Gatherer(const ModelFiles& files, const Decoder& decoder)
      : decoder_(&decoder), names_(GgufModel::of_config(files.config())) {
    const DecoderNames names = decoder_names(files).value_or(DecoderNames{});
    head_ = files.find(names.head + ".weight") != nullptr ? names.head : names.prefix + "embed_tokens";
  }

  // Of one block, whose output takes the place of its input in `states`.
  void block(int64_t index, ActivationStore& states) {
    const DecoderBlock block = decoder_->block(index);
    const auto& stages = block.stages();
    std::vector<HessianAccumulator> seen;
    for (size_t batch = 0; batch < states.batches(); ++batch) {
      stop_if_interrupted();
      BlockState state = block.begin(states.get(batch));
      for (size_t stage = 0; stage < stages.size(); ++stage) {
        if (batch == 0) seen.emplace_back(state.input.size(-1), Keep::diagonal);
        seen[stage].add(state.input, stages[stage].front());
        block.advance(state);
      }
      states.set(batch, state.residual);
    }
    for (size_t stage = 0; stage < stages.size(); ++stage) {
      const ImportanceMatrix::Entry entry = entry_of(seen[stage].finish());
      for (const std::string& linear : stages[stage]) put(linear, entry);
    }
  }
  void head(const ActivationStore& states) {
    HessianAccumulator seen(decoder_->config().hidden, Keep::diagonal);
    for (size_t batch = 0; batch < states.batches(); ++batch) {
      stop_if_interrupted();
      seen.add(decoder_->final_norm(states.get(batch)), head_);
    }
    put(head_, entry_of(seen.finish()));
  }
  ImportanceMatrix take() { return std::move(matrix_); }

 private:
  void put(const std::string& linear, const ImportanceMatrix::Entry& entry) {
    const auto name = names_.gguf_name(linear + ".weight");
    if (!name) {
      throw UnsupportedError(linear + ": gguf has no name for this tensor in architecture " + names_.architecture);
    }
    matrix_.entries[*name] = entry;
  }

  const Decoder* decoder_;
  GgufModel names_;
  std::string head_;
  ImportanceMatrix matrix_;
};

}  // namespace

CalibrateFigures calibrate(const CalibrateOptions& options) {
  const auto started = std::chrono::steady_clock::now();
  if (options.threads > 0) at::set_num_threads(options.threads);
  std::vector<fs::path> inputs{options.model};
  inputs.insert(inputs.end(), options.calibration.files.begin(), options.calibration.files.end());
  OutputFolder::check(options.out, inputs);
  const ModelFiles files = ModelFiles::open(options.model);
  const Recipe recipe = like_wanda(options);
  const Plan plan = make_plan(files, recipe, {options.memory_bytes, options.threads, 0, false});
  const Tokenizer tokenizer = Tokenizer::open(options.model);
  const Decoder decoder(files);
  const CalibrationTokens tokens = calibration_tokens(recipe, plan, 0, files, decoder, tokenizer);
  for (const std::string& warning : tokens.warnings) log_line(Level::warning, warning);

  ActivationStore states(plan.memory.spill_activations ? fs::absolute(options.out).parent_path() : fs::path());
  embed_windows(decoder, tokens.calibration, plan.memory, states);
  Gatherer gatherer(files, decoder);
  const int64_t blocks = decoder.config().layers;
  {
    Progress progress("calibrating, block", blocks);
    for (int64_t index = 0; index < blocks; ++index) {
      gatherer.block(index, states);
      progress.update(index + 1, "");
    }
    gatherer.head(states);
  }
  ImportanceMatrix matrix = gatherer.take();
  for (const fs::path& file : options.calibration.files) matrix.datasets.push_back(file.filename().string());
  if (matrix.datasets.empty()) matrix.datasets.push_back(tokens.source);
  matrix.chunks = static_cast<int64_t>(tokens.calibration.size());
  matrix.chunk_tokens = static_cast<int64_t>(tokens.calibration.front().size());
  write_importance_matrix(matrix, options.out);
  return {.entries = static_cast<int64_t>(matrix.entries.size()),
          .tokens = matrix.chunks * matrix.chunk_tokens,
          .windows = matrix.chunks,
          .length = matrix.chunk_tokens,
          .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count(),
          .source = tokens.source};
}

}  // namespace pare
