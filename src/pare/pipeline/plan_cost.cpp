#include "pare/pipeline/plan_cost.h"

#include <algorithm>
#include <map>
#include <thread>

#include "pare/base/error.h"
#include "pare/base/resources.h"
#include "pare/base/units.h"
#include "pare/pipeline/methods.h"
#include "pare/weights/decoder_config.h"

namespace pare {
namespace {

uint64_t f32_bytes(const WeightForm& form) {
  return static_cast<uint64_t>(form.elements()) * sizeof(float);
}

// What the process holds beside the arrays counted below: libtorch's code and tables, what the heap keeps (see
// keep_heap_compact). So that the plan is not below what SmolLM2 took with 128 windows of 512: docs/results.md. Small
// models take less.
constexpr uint64_t kProcessBytes = 330'000'000;
// A batch: its intermediates stay near the caches, and products of this many rows are as fast as any.
constexpr int64_t kLeastBatchTokens = 512, kMostBatchTokens = 2048, kMostBatchBytes = 256'000'000;
// Rows of the head and the logits of a few tokens at a time (evaluate.cpp).
constexpr uint64_t kMostHeadBytes = 64'000'000;
// Inputs of blocks that wait for the way back of gradients; more is hardly faster.
constexpr uint64_t kMostCheckpoints = 512'000'000;
// A sample of the compressed model's text needs the whole model in memory, as f32.
constexpr uint64_t kMostForSample = 2'000'000'000;
// Copies of a [in, in] matrix alive while it is factored: the Hessian, the damped one, its factor, the inverse factor.
constexpr uint64_t kFactorCopies = 4;
// Copies of a layer's [out, in] weight while it is solved: original, working, permuted, result, codes.
constexpr uint64_t kSolveCopies = 5;

// All of the model as f32.
uint64_t whole_bytes(const ModelFiles& files) {
  uint64_t whole = 0;
  for (const ParameterInfo& parameter : files.parameters()) whole += f32_bytes(parameter.form);
  return whole;
}

// The error of a limit that is too small, with what the need is made of.
[[noreturn]] void refuse_limit(const MemoryPlan& memory, bool given) {
  std::string why = "one block " + format_bytes(memory.block_bytes) + ", curvature " +
                    format_bytes(memory.curvature_bytes) + ", the rest: process, one batch";
  std::string out = "fewer --samples do not help here, activations are on disk already";
  if (memory.gradient_bytes >= memory.peak_bytes) {
    why = "the gradients' pass";
    out = "--no-guided does without it";
  } else if (memory.evaluation_bytes >= memory.peak_bytes) {
    why = "the evaluation's hidden states";
    out = "fewer --eval-tokens help";
  }
  throw ResourceError("memory: this run needs about " + format_bytes(memory.peak_bytes) + " (" + why + "), " +
                      (given ? "--memory allows " : "this machine has ") + format_bytes(memory.limit_bytes) +
                      ". Use --memory " + std::to_string(memory.peak_bytes / 1'000'000 + 1) + "MB or more; " + out);
}

// The pass of curvature/output_fisher.h: a block, its inputs that wait, and on each thread what autograd keeps of one
// window.
void plan_gradients(Plan& plan, const ModelFiles& files, const Recipe& recipe, const PlanOptions& options,
                    uint64_t largest_block) {
  MemoryPlan& memory = plan.memory;
  const DecoderConfig config = DecoderConfig::from_hf(files.config());
  const int64_t length = recipe.calibration.length;
  const auto f32 = [](int64_t count) { return static_cast<uint64_t>(count) * sizeof(float); };
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const auto threads = static_cast<uint64_t>(options.threads > 0 ? options.threads : static_cast<int>(cores));
  const uint64_t recorded =
      f32(length * (12 * config.hidden + 6 * config.heads * config.head_dim + 8 * config.intermediate)) +
      f32(5 * config.heads * length * length);
  const auto windows = static_cast<uint64_t>(plan.calibration_tokens / length);
  const uint64_t fixed = kProcessBytes + largest_block + std::min(threads, windows) * recorded;
  const uint64_t window = f32(config.layers * length * config.hidden);
  const uint64_t room = memory.limit_bytes > fixed ? memory.limit_bytes - fixed : 0;
  memory.checkpoint_bytes = std::max(window, std::min({room, kMostCheckpoints, windows * window}));
  memory.gradient_bytes = fixed + memory.checkpoint_bytes;
}

}  // namespace

void plan_memory(Plan& plan, const ModelFiles& files, const Recipe& recipe, const PlanOptions& options) {
  MemoryPlan& memory = plan.memory;
  std::map<int64_t, uint64_t> block_f32;
  uint64_t largest_layer = 0, hessians = 0, largest_hessian = 0;
  int64_t hidden = 0, attention = 0, inner = 0, widest = 0;
  for (const LayerPlan& layer : plan.layers) {
    const int64_t in = layer.form.shape[1], rows = layer.form.shape[0];
    const int64_t at_once = layer.is_table() ? std::min(kTableStrip, rows) : rows;
    const uint64_t bytes = static_cast<uint64_t>(at_once * in) * sizeof(float);
    block_f32[layer.block] += bytes;
    largest_layer = std::max(largest_layer, bytes);
    if (!layer.is_table()) widest = std::max({widest, in, rows});
    if (layer.kind == "q_proj") hidden = in;
    if (layer.kind == "o_proj") attention = in;
    if (layer.kind == "down_proj") inner = in;
    const MethodInfo& method = method_named(layer.wish.method, layer.name);
    if (method.need == CurvatureNeed::full) {
      largest_hessian =
          std::max(largest_hessian, static_cast<uint64_t>(in) * static_cast<uint64_t>(in) * sizeof(float));
    }
  }
  if (hidden == 0) hidden = widest;
  hessians = recipe.true_sequential ? largest_hessian
                                    : largest_hessian + 3 * static_cast<uint64_t>(hidden * hidden) * sizeof(float);
  uint64_t largest_block = 0;
  for (const auto& [block, bytes] : block_f32) largest_block = std::max(largest_block, bytes);

  const uint64_t whole = whole_bytes(files);
  const auto vocabulary = static_cast<uint64_t>(DecoderConfig::from_hf(files.config()).vocab_size);
  const uint64_t head = std::min(kMostHeadBytes, 2048 * vocabulary * sizeof(float));
  const auto tokens = static_cast<uint64_t>(plan.calibration_tokens);
  const auto of_tokens = [&](int64_t width) { return tokens * static_cast<uint64_t>(width) * sizeof(float); };
  bool shifted = false;
  for (const LayerPlan& layer : plan.layers) shifted = shifted || layer.wish.shift != 0;
  // The residual stream, and the input of the stage at hand when a block is walked stage by stage (block_solver.h).
  const uint64_t residual = of_tokens(hidden), stage = recipe.true_sequential ? of_tokens(attention) : 0;
  memory.activations_bytes = (shifted ? 2 : 1) * (residual + stage);
  memory.curvature_bytes = largest_hessian == 0 ? 0 : hessians + (kFactorCopies - 1) * largest_hessian;
  memory.block_bytes = largest_block + kSolveCopies * largest_layer;
  if (shifted) {  // X^T X' of each Hessian, their difference; the original's block beside the compressed one
    memory.curvature_bytes += hessians + largest_hessian;
    memory.block_bytes += largest_block;
  }
  // Of one batch inside a block, in f32 words per token: residual, norm, q, k, v, attention; gate, up, product.
  const int64_t token_bytes = (6 * hidden + 3 * widest) * static_cast<int64_t>(sizeof(float));
  memory.batch_tokens = std::clamp(kMostBatchBytes / token_bytes, kLeastBatchTokens, kMostBatchTokens);
  const auto batch = static_cast<uint64_t>(memory.batch_tokens * token_bytes);
  const uint64_t fixed = kProcessBytes + batch + memory.curvature_bytes + memory.block_bytes;
  const auto evaluated = static_cast<uint64_t>(options.evaluation_tokens);
  memory.evaluation_bytes =
      kProcessBytes + head + largest_block + 3 * evaluated * static_cast<uint64_t>(hidden) * sizeof(float);
  memory.limit_bytes = options.memory_bytes != 0 ? options.memory_bytes : available_memory_bytes();
  memory.spill_activations = fixed + memory.activations_bytes > memory.limit_bytes;
  if (!memory.spill_activations && recipe.true_sequential) {
    // More is no faster by much, and others want memory too.
    const uint64_t room = std::min(2 * residual, memory.limit_bytes - fixed - memory.activations_bytes + stage);
    memory.kept_bytes = std::min(room, of_tokens(inner));
    memory.activations_bytes += std::max(memory.kept_bytes, stage) - stage;
  }
  memory.peak_bytes =
      std::max(fixed + (memory.spill_activations ? 0 : memory.activations_bytes), memory.evaluation_bytes);
  if (recipe.is_guided() && plan.calibration_tokens > 0) {
    plan_gradients(plan, files, recipe, options, largest_block);
    memory.peak_bytes = std::max(memory.peak_bytes, memory.gradient_bytes);
  }
  const int64_t texts = own_texts(recipe.calibration.length, plan.calibration_tokens, plan.held_out_tokens);
  if (texts > 0 && recipe.calibration.files.empty()) {
    // generate.cpp: the whole model, keys and values of the texts that are written together
    const auto at_once = static_cast<uint64_t>(std::min(texts, kTextsAtOnce));
    uint64_t cached = 0;
    for (const LayerPlan& layer : plan.layers) {
      if (layer.kind == "k_proj" || layer.kind == "v_proj") cached += static_cast<uint64_t>(layer.form.shape[0]);
    }
    const uint64_t length = static_cast<uint64_t>(recipe.calibration.length);
    memory.own_text_bytes = kProcessBytes + head + whole + at_once * length * cached * sizeof(float);
    memory.peak_bytes = std::max(memory.peak_bytes, std::min(memory.own_text_bytes, memory.limit_bytes));
    if (memory.own_text_bytes > memory.limit_bytes) {
      plan.notes.push_back("writing its own calibration text takes the whole model in memory, " +
                           format_bytes(memory.own_text_bytes) + " of " + format_bytes(memory.limit_bytes) +
                           ": unless that text is in the cache already, give --calib FILE");
    }
  }
  memory.writes_sample = kProcessBytes + whole <= std::min(memory.limit_bytes, kMostForSample);
  if (memory.writes_sample) memory.peak_bytes = std::max(memory.peak_bytes, kProcessBytes + whole);
  if (memory.peak_bytes > memory.limit_bytes) refuse_limit(memory, options.memory_bytes != 0);
}

// Forward passes through the linears and half of X^T X, at a rate that two laptop cores reach; solving is in^2 (in +
// out).
void plan_time(Plan& plan, const ModelFiles& files, const Recipe& recipe, const PlanOptions& options) {
  const double tokens = static_cast<double>(plan.calibration_tokens);
  for (const LayerPlan& layer : plan.layers) {
    const double out = static_cast<double>(layer.form.shape[0]), in = static_cast<double>(layer.form.shape[1]);
    const bool full = method_named(layer.wish.method, layer.name).need == CurvatureNeed::full;
    if (!layer.is_table()) plan.flops += tokens * 2 * out * in;
    const bool shares_input = layer.kind == "k_proj" || layer.kind == "v_proj" || layer.kind == "up_proj";
    if (full && !shares_input) plan.flops += tokens * in * in + 2 * in * in * in;
    if (full) plan.flops += 2 * out * in * in;
    if (full && recipe.is_guided() && !layer.is_table()) plan.flops += 3 * tokens * 2 * out * in;
  }
  // Two passes of the evaluation; own text a token at a time.
  const double elements = static_cast<double>(whole_bytes(files)) / sizeof(float);
  plan.flops += 2 * 2 * static_cast<double>(options.evaluation_tokens) * elements;
  if (plan.memory.own_text_bytes > 0) {
    const int64_t length = recipe.calibration.length;
    const auto texts = static_cast<double>(own_texts(length, plan.calibration_tokens, plan.held_out_tokens));
    plan.flops += 2 * texts * static_cast<double>(length) * elements;
  }
  constexpr double kFlopsPerThread = 1e11;
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  plan.seconds = plan.flops / (kFlopsPerThread * (options.threads > 0 ? options.threads : static_cast<int>(cores)));
}

}  // namespace pare
