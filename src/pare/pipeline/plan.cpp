#include "pare/pipeline/plan.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>

#include "pare/base/error.h"
#include "pare/base/resources.h"
#include "pare/base/units.h"
#include "pare/pipeline/gguf_fallback.h"
#include "pare/pipeline/gguf_mix.h"
#include "pare/pipeline/importance.h"
#include "pare/pipeline/methods.h"
#include "pare/pipeline/model_linears.h"
#include "pare/pipeline/plan_cost.h"
#include "pare/pipeline/tensor_types.h"
#include "pare/weights/decoder_config.h"
#include "pare/weights/decoder_names.h"

namespace pare {
namespace {

constexpr int64_t kDefaultGroup = 128;

// GGUF's own grids come in groups of 32; elsewhere 128 is the custom, smaller where it does not divide.
int64_t choose_group(int64_t in, OutputFormat format) {
  if (format == OutputFormat::gguf) return 32;
  for (int64_t group = kDefaultGroup; group >= 16; group /= 2) {
    if (in % group == 0) return group;
  }
  return in;
}

// The width whose groups suit all layers; 0 in formats that take different groups in different layers.
int64_t common_inputs(const ModelFiles& files, const ModelLinears& linears, OutputFormat format) {
  int64_t common = 0;
  if (format != OutputFormat::gptq) return common;
  for (const ParameterInfo& parameter : files.parameters()) {
    if (linears.find(parameter)) common = std::gcd(common, parameter.shape[1]);
  }
  return common;
}

// Values that the model's own type keeps as they are stay in it; blocks of a GGUF become f16 (bf16 would lose three
// more bits), vectors f32.
Dtype dense_dtype(const WeightForm& source) {
  if (source.kind == WeightForm::Kind::dense) return source.dtype;
  if (source.kind == WeightForm::Kind::additive_codes) return Dtype::f32;  // sums in f32, which no shorter type holds
  return source.shape.size() == 1 ? Dtype::f32 : Dtype::f16;
}

WeightForm dense_form(const WeightForm& source) {
  WeightForm form;
  form.shape = source.shape;
  form.dtype = dense_dtype(source);
  return form;
}

// GGUF and Pare's own container keep what they hold as it is.
WeightForm form_left_alone(const ModelFiles& files, const ParameterInfo& parameter, OutputFormat format) {
  const bool keeps = format == OutputFormat::gguf || format == OutputFormat::pare;
  if (!keeps || !why_not(parameter.form, format).empty()) return dense_form(parameter.form);
  // only the data shows the groups of its inputs
  const bool look = format == OutputFormat::pare && parameter.form.kind == WeightForm::Kind::grouped_ints;
  return look ? form_of(files.read(parameter.name)) : parameter.form;
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

const GgmlType& wanted_type(const LayerWish& wish, const MixPlace& place) {
  return wish.exact_type ? *ggml_type_named(wish.type) : type_in_mix(wish.type, place);
}

void require_gguf(const LayerPlan& layer, OutputFormat format) {
  if (format != OutputFormat::gguf) {
    throw UsageError(layer.name + ": type " + layer.wish.type + " needs --format gguf");
  }
}

void refuse_contradictions(const LayerPlan& layer, const Recipe& recipe) {
  const LayerWish& wish = layer.wish;
  if (wish.shift != 0 && (wish.method != "gptq" || !recipe.true_sequential)) {
    throw UsageError(layer.name + ": shift is for gptq, stage by stage: leave it out" +
                     (recipe.true_sequential ? "" : ", or leave --one-pass out"));
  }
  if (wish.method == "gptq" && wish.act_order && !wish.static_groups && wish.group != -1) {
    throw UsageError(layer.name +
                     ": act_order with dynamic groups scatters each group's scale over the row, which no runtime reads "
                     "quickly. Use static_groups: true, or act_order: false");
  }
}

// `common`: common_inputs().
LayerPlan plan_layer(const LinearName& linear, const ParameterInfo& parameter, const Recipe& recipe,
                     OutputFormat format, int64_t common, const MixPlace& place, std::set<std::string>& notes,
                     GgufFallbacks& fallbacks) {
  LayerPlan layer;
  layer.name = linear.layer;
  layer.kind = linear.kind;
  layer.block = linear.block;
  layer.wish = recipe.wish_for(linear.layer);
  const WeightForm& source = parameter.form;
  const int64_t out = source.shape[0], in = source.shape[1];
  const MethodInfo& method = method_named(layer.wish.method, layer.name);
  refuse_contradictions(layer, recipe);
  WeightForm& form = layer.form;
  form = dense_form(source);
  if (!layer.wish.type.empty()) {
    if (layer.wish.method != "gptq" && layer.wish.method != "rtn") {
      throw UsageError(layer.name + ": GGUF types are for gptq and rtn, not " + method.name);
    }
    if (layer.wish.sparsity) throw UsageError(layer.name + ": GGUF has no place for a mask; leave out the sparsity");
    require_gguf(layer, format);
    form = fallbacks.form_for(wanted_type(layer.wish, place), parameter);
  } else if (layer.wish.bits > 0) {
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

// Embedding or head, where the recipe rounds them: solved after the last block, as products of what it gives.
std::optional<LayerPlan> plan_table(const ParameterInfo& parameter, const Recipe& recipe, OutputFormat format,
                                    const ModelLinears& linears, GgufFallbacks& fallbacks) {
  LayerPlan layer;
  layer.name = module_of(parameter.name);
  layer.kind = linears.table_kind(parameter);
  if (layer.kind.empty()) return std::nullopt;
  layer.wish = recipe.wish_for(layer.name);
  if (layer.wish.type.empty()) return std::nullopt;
  require_gguf(layer, format);
  layer.block = linears.layers();
  const MixPlace place = linears.place(layer.kind, 0);
  if (layer.kind == "embed" && !place.tied) layer.wish.method = "rtn";  // its rows are looked up: nothing is multiplied
  layer.form = fallbacks.form_for(wanted_type(layer.wish, place), parameter);
  return layer;
}

// What most software loads: compressed-tensors for integers, but GPTQ for asymmetric ones (export_notes says why).
OutputFormat choose_format(const ModelFiles& files, const ModelLinears& linears, const Recipe& recipe,
                           std::set<std::string>& notes) {
  if (recipe.format) return parse_output_format(*recipe.format);
  bool quantizes = false, asymmetric = false, gptq_holds = true;
  std::set<std::string> unused;
  GgufFallbacks unused_fallbacks(files);
  for (const ParameterInfo& parameter : files.parameters()) {
    const auto linear = linears.find(parameter);
    if (!linear || !parameter.readable) continue;
    if (recipe.size > 0 || !recipe.wish_for(linear->layer).type.empty()) return OutputFormat::gguf;
    const LayerPlan layer =
        plan_layer(*linear, parameter, recipe, OutputFormat::compressed_tensors, 0, {}, unused, unused_fallbacks);
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

}  // namespace

const LayerWish& Plan::main_wish() const {
  std::map<std::string, int> count;
  for (const LayerPlan& layer : layers) ++count[layer.wish.method];
  const auto more = [&](const LayerPlan& a, const LayerPlan& b) { return count[a.wish.method] < count[b.wish.method]; };
  return std::max_element(layers.begin(), layers.end(), more)->wish;
}

Plan make_plan(const ModelFiles& files, const Recipe& recipe, const PlanOptions& options) {
  if (recipe.size > 0 && !recipe.imatrix.empty()) {
    throw UsageError(
        "--imatrix is not for --size: what each type costs is measured with whole Hessians, on text. Use --type, or "
        "leave "
        "--imatrix out");
  }
  if (recipe.size > 0 && !open_tensors(files, recipe).empty()) {
    Plan plan = make_plan(files, with_types(recipe, uniform_types(files, recipe, options)), options);
    plan.notes.insert(plan.notes.begin(),
                      "the types shown are the largest uniform ones that fit " + format_bytes(recipe.size) +
                          "; the run measures what each tensor's error costs and chooses, for a file of at most that");
    plan.chooses_types = true;
    return plan;
  }
  Plan plan;
  std::set<std::string> notes;
  const ModelLinears linears(files);
  plan.format = choose_format(files, linears, recipe, notes);
  if (plan.format == OutputFormat::aqlm) {
    throw UsageError(
        "format aqlm: no method of compress fits codebooks yet. `pare convert --format aqlm --type 2x8 --lossy` does, "
        "without calibration");
  }
  refuse_split_of_other_formats(recipe.split, plan.format);
  const int64_t common = common_inputs(files, linears, plan.format);
  std::vector<std::string> linear_names;
  ExportJob job;
  job.source = &files;
  job.format = plan.format;
  job.gguf_mix = recipe.wish.type.value_or("");
  job.gguf_name = options.gguf_name;
  job.split_bytes = recipe.split;
  uint64_t journal_bytes = 0, compressed_bytes = 0, compressed_elements = 0;
  CurvatureNeed need = CurvatureNeed::none;
  GgufFallbacks fallbacks(files);
  for (const ParameterInfo& parameter : files.parameters()) {
    if (!parameter.readable) throw UnsupportedError(parameter.name + ": " + parameter.why_not);
    const auto linear = linears.find(parameter);
    const auto add = [&](LayerPlan layer) {
      const std::string refusal = why_not(layer.form, plan.format);
      if (!refusal.empty()) throw UsageError(layer.name + ": " + refusal);
      layer.bytes_before = parameter.bytes;
      journal_bytes += layer.form.bytes();
      compressed_elements += static_cast<uint64_t>(layer.form.elements());
      need = std::max(need, method_named(layer.wish.method, layer.name).need);
      job.parameters.push_back({parameter.name, layer.form, {}});
      plan.layers.push_back(std::move(layer));
    };
    const WeightForm form = form_left_alone(files, parameter, plan.format);
    std::string why = "not a linear of a block";
    if (!linears.table_kind(parameter).empty()) linear_names.push_back(module_of(parameter.name));
    if (linear) {
      linear_names.push_back(linear->layer);
      LayerPlan layer = plan_layer(*linear, parameter, recipe, plan.format, common,
                                   linears.place(linear->kind, linear->block), notes, fallbacks);
      if (layer.wish.method != "none") {
        add(std::move(layer));
        continue;
      }
      why = "the recipe says so";
    } else if (auto table = plan_table(parameter, recipe, plan.format, linears, fallbacks)) {
      add(std::move(*table));
      continue;
    } else if (linears.beyond(parameter)) {
      why = "a block past the last one that config.json has";
    } else if (parameter.name == linears.names().prefix + "embed_tokens.weight") {
      why = files.find(linears.names().head + ".weight") == nullptr
                ? "embedding and head in one: below 8 bits it costs more than it saves"
                : "a table, not a product";
    } else if (parameter.name == linears.names().head + ".weight") {
      why = "the head: below 8 bits it costs more than it saves";
    } else if (parameter.shape.size() == 1) {
      why = "a vector";
    }
    job.parameters.push_back({parameter.name, form, {}});
    plan.left_alone.push_back({parameter.name, why, form});
  }
  for (std::string& note : fallbacks.notes()) notes.insert(std::move(note));
  const auto unmatched = recipe.unmatched(linear_names);
  if (!unmatched.empty()) {
    const std::string near = nearest_word(unmatched[0], linear_names);
    throw UsageError("recipe: layers: \"" + unmatched[0] + "\" matches no layer" +
                     (near.empty() ? "" : "; the nearest name is " + near) + ". `pare inspect --tensors` lists them");
  }
  if (plan.layers.empty()) throw UsageError("nothing to do: the recipe leaves every layer as it is");
  if (!recipe.imatrix.empty()) {
    const PlannedImportance importance(recipe.imatrix, files, plan.layers);
    notes.insert(importance.notes().begin(), importance.notes().end());
  }
  for (const LayerPlan& layer : plan.layers) {
    if (layer.form.masked && layer.form.kind == WeightForm::Kind::dense &&
        plan.format != OutputFormat::compressed_tensors && plan.format != OutputFormat::pare) {
      notes.insert(
          "zeros are stored as values in this format, so the file does not shrink; --format compressed-tensors stores "
          "them as bits");
      break;
    }
  }
  plan.bytes_before = files.bytes();
  plan.sizes = export_sizes(job);
  std::map<std::string, uint64_t> bytes;
  for (size_t i = 0; i < job.parameters.size(); ++i) bytes[job.parameters[i].name] = plan.sizes.parameter_bytes[i];
  for (LayerPlan& layer : plan.layers) {
    layer.bytes_after = bytes.at(layer.name + ".weight");
    compressed_bytes += layer.bytes_after;
  }
  for (LeftAlone& item : plan.left_alone) item.bytes = bytes.at(item.name);
  plan.bits_per_weight = 8.0 * static_cast<double>(compressed_bytes) / static_cast<double>(compressed_elements);
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
  plan_time(plan, files, recipe, options);
  plan.disk_bytes =
      plan.sizes.weight_bytes + journal_bytes + (plan.memory.spill_activations ? plan.memory.activations_bytes : 0);
  return plan;
}

}  // namespace pare
