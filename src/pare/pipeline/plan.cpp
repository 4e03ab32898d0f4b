#include "pare/pipeline/plan.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>
#include <thread>

#include "pare/base/error.h"
#include "pare/base/resources.h"
#include "pare/base/units.h"
#include "pare/pipeline/methods.h"

namespace pare {
namespace {

constexpr int64_t kDefaultGroup = 128;

struct LinearName {
  std::string layer;  // without ".weight"
  std::string kind;
  int64_t block;
};

// A linear of a decoder block: "model.layers.3.mlp.down_proj.weight".
std::optional<LinearName> as_linear(const ParameterInfo& parameter) {
  constexpr std::string_view kPrefix = "model.layers.", kSuffix = ".weight";
  const std::string& name = parameter.name;
  if (parameter.shape.size() != 2 || !name.starts_with(kPrefix) || !name.ends_with("_proj.weight")) return std::nullopt;
  int64_t block = 0;
  const char* end = name.data() + name.size();
  const auto [after, error] = std::from_chars(name.data() + kPrefix.size(), end, block);
  if (error != std::errc{} || after == end || *after != '.' || block < 0) return std::nullopt;
  const std::string layer = name.substr(0, name.size() - kSuffix.size());
  return LinearName{layer, layer.substr(layer.rfind('.') + 1), block};
}

// GGUF's own grids come in groups of 32; elsewhere 128 is the custom, smaller where it does not divide.
int64_t choose_group(int64_t in, OutputFormat format) {
  if (format == OutputFormat::gguf) return 32;
  for (int64_t group = kDefaultGroup; group >= 16; group /= 2) {
    if (in % group == 0) return group;
  }
  return in;
}

// The width whose groups suit all layers; 0 in formats that take different groups in different layers.
int64_t common_inputs(const ModelFiles& files, OutputFormat format) {
  int64_t common = 0;
  if (format != OutputFormat::gptq) return common;
  for (const ParameterInfo& parameter : files.parameters()) {
    if (as_linear(parameter)) common = std::gcd(common, parameter.shape[1]);
  }
  return common;
}

// Values that the model's own type keeps as they are stay in it; blocks of a GGUF become f16 (bf16 would lose three
// more bits), vectors f32.
Dtype dense_dtype(const WeightForm& source) {
  if (source.kind == WeightForm::Kind::dense) return source.dtype;
  return source.shape.size() == 1 ? Dtype::f32 : Dtype::f16;
}

WeightForm dense_form(const WeightForm& source) {
  WeightForm form;
  form.shape = source.shape;
  form.dtype = dense_dtype(source);
  return form;
}

void resolve_group(LayerPlan& layer, int64_t in, OutputFormat format, int64_t common, std::set<std::string>& notes) {
  int64_t& group = layer.wish.group;
  if (group == 0) {
    group = choose_group(common > 0 ? common : in, format);
    if (common > 0 && choose_group(in, format) != group) {
      notes.insert("groups of " + std::to_string(group) +
                   " in all layers, since transformers reads GPTQ only when they are alike");
    } else if (common == 0 && group != kDefaultGroup) {
      notes.insert("groups of " + std::to_string(group) +
                   (format == OutputFormat::gguf
                        ? ": what GGUF's blocks hold"
                        : " for layers with " + std::to_string(in) + " inputs, which are not a multiple of 128"));
    }
  }
  if (group == -1) group = in;
  if (in % group != 0) {
    throw UsageError(layer.name + ": group " + std::to_string(group) + " does not divide its " + std::to_string(in) +
                     " inputs. Use --group " + std::to_string(choose_group(common > 0 ? common : in, format)) +
                     ", or leave --group out and Pare chooses for each layer");
  }
}

// `common`: common_inputs().
LayerPlan plan_layer(const LinearName& linear, const WeightForm& source, const Recipe& recipe, OutputFormat format,
                     int64_t common, std::set<std::string>& notes) {
  LayerPlan layer;
  layer.name = linear.layer;
  layer.kind = linear.kind;
  layer.block = linear.block;
  layer.wish = recipe.wish_for(linear.layer);
  const int64_t out = source.shape[0], in = source.shape[1];
  const MethodInfo& method = method_named(layer.wish.method, layer.name);
  WeightForm& form = layer.form;
  form = dense_form(source);
  if (layer.wish.bits > 0) {
    if (!method.quantizes) {
      throw UsageError(layer.name + ": " + method.name +
                       " does not round; leave out the bits, or use sparsegpt, which prunes and rounds together");
    }
    resolve_group(layer, in, format, common, notes);
    form.kind = WeightForm::Kind::grouped_ints;
    form.bits = layer.wish.bits;
    form.ternary = layer.wish.ternary;
    form.symmetric = layer.wish.symmetric || layer.wish.ternary;
    form.group = layer.wish.group;
    form.scale_dtype = layer.wish.scale_dtype;
  } else if (method.quantizes && !method.prunes) {
    throw UsageError(layer.name + ": " + method.name + " needs to know how many bits: --bits 4");
  }
  if (layer.wish.sparsity) {
    if (!method.prunes) {
      throw UsageError(layer.name + ": " + method.name +
                       " does not prune; use sparsegpt, wanda or magnitude for --sparsity");
    }
    const Pattern& pattern = *layer.wish.sparsity;
    if (pattern.structured() && in % pattern.m != 0) {
      throw UsageError(layer.name + ": " + pattern.text() + " needs inputs in multiples of " +
                       std::to_string(pattern.m) + ", it has " + std::to_string(in) +
                       ". Leave this layer out (method: none) or use an unstructured sparsity");
    }
    form.masked = true;
    form.n = pattern.n;
    form.m = pattern.m;
    form.kept = kept_count(pattern, method.unit, out, in, layer.wish.block);
  } else if (method.prunes && layer.wish.bits == 0) {
    throw UsageError(layer.name + ": " + method.name + " needs to know how much: --sparsity 0.5 or --sparsity 2:4");
  }
  return layer;
}

// What most software loads: compressed-tensors for integers, but GPTQ for asymmetric ones (export_notes says why).
OutputFormat choose_format(const ModelFiles& files, const Recipe& recipe, std::set<std::string>& notes) {
  if (recipe.format) return parse_output_format(*recipe.format);
  bool quantizes = false, asymmetric = false, gptq_holds = true;
  std::set<std::string> unused;
  for (const ParameterInfo& parameter : files.parameters()) {
    const auto linear = as_linear(parameter);
    if (!linear || !parameter.readable) continue;
    const LayerPlan layer = plan_layer(*linear, parameter.form, recipe, OutputFormat::compressed_tensors, 0, unused);
    if (layer.wish.method == "none") continue;
    const bool ints = layer.form.kind == WeightForm::Kind::grouped_ints;
    quantizes = quantizes || ints;
    asymmetric = asymmetric || (ints && !layer.form.symmetric);
    gptq_holds = gptq_holds && why_not(layer.form, OutputFormat::gptq).empty();
  }
  if (asymmetric && gptq_holds) {
    notes.insert("written as GPTQ: its readers take zero points, transformers with compressed-tensors does not");
    return OutputFormat::gptq;
  }
  return quantizes ? OutputFormat::compressed_tensors : OutputFormat::hf;
}

uint64_t f32_bytes(const WeightForm& form) {
  return static_cast<uint64_t>(form.elements()) * sizeof(float);
}

// What the process holds beside the arrays counted below: libtorch's code and tables, what the heap keeps (see
// keep_heap_compact). So that the plan is not below what SmolLM2 took with 128 windows of 512: docs/results.md. Small
// models take less.
constexpr uint64_t kProcessBytes = 330'000'000;
// Rows of the head and the logits of a few tokens at a time (evaluate.cpp).
constexpr uint64_t kMostHeadBytes = 64'000'000;
// A sample of the compressed model's text needs the whole model in memory, as f32.
constexpr uint64_t kMostForSample = 2'000'000'000;
// Copies of a [in, in] matrix alive while it is factored: the Hessian, the damped one, its factor, the inverse factor.
constexpr uint64_t kFactorCopies = 4;
// Copies of a layer's [out, in] weight while it is solved: original, working, permuted, result, codes.
constexpr uint64_t kSolveCopies = 5;

void plan_memory(Plan& plan, const ModelFiles& files, const Recipe& recipe, const PlanOptions& options) {
  MemoryPlan& memory = plan.memory;
  std::map<int64_t, uint64_t> block_f32;
  uint64_t largest_layer = 0, hessians = 0, largest_hessian = 0;
  int64_t hidden = 0, attention = 0, inner = 0, widest = 0;
  for (const LayerPlan& layer : plan.layers) {
    const int64_t in = layer.form.shape[1];
    block_f32[layer.block] += f32_bytes(layer.form);
    largest_layer = std::max(largest_layer, f32_bytes(layer.form));
    widest = std::max({widest, in, layer.form.shape[0]});
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

  uint64_t whole = 0, vocabulary = 0;
  for (const ParameterInfo& parameter : files.parameters()) {
    whole += f32_bytes(parameter.form);
    if (parameter.name == "model.embed_tokens.weight") vocabulary = static_cast<uint64_t>(parameter.shape.front());
  }
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
  // Of one batch inside a block, in f32 words per token: residual, norm, q, k, v, attention; gate, up, product.
  const uint64_t batch = static_cast<uint64_t>(kBatchTokens * (6 * hidden + 3 * widest)) * sizeof(float);
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
  if (memory.peak_bytes > memory.limit_bytes) {
    throw ResourceError(
        "memory: this run needs about " + format_bytes(memory.peak_bytes) + " (one block " +
        format_bytes(memory.block_bytes) + ", curvature " + format_bytes(memory.curvature_bytes) +
        ", the rest: process, one batch), " + (options.memory_bytes != 0 ? "--memory allows " : "this machine has ") +
        format_bytes(memory.limit_bytes) + ". Use --memory " + std::to_string(memory.peak_bytes / 1'000'000 + 1) +
        "MB or more; fewer --samples do not help here, activations are on disk already");
  }
}

// Forward passes through the linears and half of X^T X, at a rate that two laptop cores reach; solving is in^2 (in +
// out).
void plan_time(Plan& plan, int threads) {
  const double tokens = static_cast<double>(plan.calibration_tokens);
  for (const LayerPlan& layer : plan.layers) {
    const double out = static_cast<double>(layer.form.shape[0]), in = static_cast<double>(layer.form.shape[1]);
    const bool full = method_named(layer.wish.method, layer.name).need == CurvatureNeed::full;
    plan.flops += tokens * 2 * out * in;
    const bool shares_input = layer.kind == "k_proj" || layer.kind == "v_proj" || layer.kind == "up_proj";
    if (full && !shares_input) plan.flops += tokens * in * in + 2 * in * in * in;
    if (full) plan.flops += 2 * out * in * in;
  }
  constexpr double kFlopsPerThread = 1e11;
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  plan.seconds = plan.flops / (kFlopsPerThread * (threads > 0 ? threads : static_cast<int>(cores)));
}

}  // namespace

Plan make_plan(const ModelFiles& files, const Recipe& recipe, const PlanOptions& options) {
  Plan plan;
  std::set<std::string> notes;
  plan.format = choose_format(files, recipe, notes);
  const int64_t common = common_inputs(files, plan.format);
  std::vector<std::string> linear_names;
  ExportJob job;
  job.source = &files;
  job.format = plan.format;
  uint64_t compressed_bytes = 0, compressed_elements = 0;
  CurvatureNeed need = CurvatureNeed::none;
  for (const ParameterInfo& parameter : files.parameters()) {
    if (!parameter.readable) throw UnsupportedError(parameter.name + ": " + parameter.why_not);
    const WeightForm& source = parameter.form;
    const auto linear = as_linear(parameter);
    WeightForm form =
        plan.format == OutputFormat::gguf && why_not(source, plan.format).empty() ? source : dense_form(source);
    std::string why = "not a linear of a block";
    if (linear) {
      linear_names.push_back(linear->layer);
      LayerPlan layer = plan_layer(*linear, source, recipe, plan.format, common, notes);
      if (layer.wish.method != "none") {
        const std::string refusal = why_not(layer.form, plan.format);
        if (!refusal.empty()) throw UsageError(layer.name + ": " + refusal);
        layer.bytes_before = parameter.bytes;
        layer.bytes_after = layer.form.bytes();
        compressed_bytes += layer.bytes_after;
        compressed_elements += static_cast<uint64_t>(layer.form.elements());
        need = std::max(need, method_named(layer.wish.method, layer.name).need);
        plan.blocks = std::max(plan.blocks, layer.block + 1);
        job.parameters.push_back({parameter.name, layer.form, {}});
        plan.layers.push_back(std::move(layer));
        continue;
      }
      why = "the recipe says so";
    } else if (parameter.name == "model.embed_tokens.weight") {
      why = files.find("lm_head.weight") == nullptr
                ? "embedding and head in one: below 8 bits it costs more than it saves"
                : "a table, not a product";
    } else if (parameter.name == "lm_head.weight") {
      why = "the head: below 8 bits it costs more than it saves";
    } else if (parameter.shape.size() == 1) {
      why = "a vector";
    }
    job.parameters.push_back({parameter.name, form, {}});
    plan.left_alone.push_back({parameter.name, why, form, form.bytes()});
  }
  const auto unmatched = recipe.unmatched(linear_names);
  if (!unmatched.empty()) {
    const std::string near = nearest_word(unmatched[0], linear_names);
    throw UsageError("recipe: layers: \"" + unmatched[0] + "\" matches no layer" +
                     (near.empty() ? "" : "; the nearest name is " + near) + ". `pare inspect --tensors` lists them");
  }
  if (plan.layers.empty()) throw UsageError("nothing to do: the recipe leaves every layer as it is");
  for (const LayerPlan& layer : plan.layers) {
    if (layer.form.masked && layer.form.kind == WeightForm::Kind::dense &&
        plan.format != OutputFormat::compressed_tensors) {
      notes.insert(
          "zeros are stored as values in this format, so the file does not shrink; --format compressed-tensors stores "
          "them as bits");
      break;
    }
  }
  plan.bits_per_weight = 8.0 * static_cast<double>(compressed_bytes) / static_cast<double>(compressed_elements);
  plan.bytes_before = files.bytes();
  plan.sizes = export_sizes(job);
  // Compressed embeddings become dense ones where the format has no blocks for them: a small model can grow by that.
  uint64_t alone_before = 0, alone_after = 0;
  for (const LeftAlone& item : plan.left_alone) {
    alone_before += files.find(item.name)->bytes;
    alone_after += item.bytes;
  }
  if (alone_after > alone_before + plan.sizes.weight_bytes / 20) {
    notes.insert("what is left alone grows from " + format_bytes(alone_before) + " to " + format_bytes(alone_after) +
                 ": this format stores it as 16-bit values" +
                 (files.gguf() != nullptr ? "; --format gguf keeps the blocks of the source" : ""));
  }
  plan.notes.assign(notes.begin(), notes.end());
  for (std::string& note : export_notes(job)) plan.notes.push_back(std::move(note));
  plan.calibration_tokens = need == CurvatureNeed::none ? 0 : recipe.calibration.samples * recipe.calibration.length;
  plan.held_out_tokens = options.evaluation_text ? 0 : options.evaluation_tokens;
  plan_memory(plan, files, recipe, options);
  plan_time(plan, options.threads);
  plan.disk_bytes =
      plan.sizes.weight_bytes + compressed_bytes + (plan.memory.spill_activations ? plan.memory.activations_bytes : 0);
  return plan;
}

}  // namespace pare
