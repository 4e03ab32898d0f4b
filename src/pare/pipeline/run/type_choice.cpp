#include "pare/pipeline/run/type_choice.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "pare/base/error.h"
#include "pare/base/fingerprint.h"
#include "pare/base/interrupt.h"
#include "pare/base/json.h"
#include "pare/base/log.h"
#include "pare/base/paths.h"
#include "pare/base/random.h"
#include "pare/base/units.h"
#include "pare/budget/choose_options.h"
#include "pare/io/output_folder.h"
#include "pare/pipeline/progress.h"
#include "pare/pipeline/run/table_solver.h"
#include "pare/pipeline/tensor_types.h"
#include "pare/quantize/gptq_gguf.h"
#include "pare/quantize/rounded.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kRows = 96;        // of a linear that are solved
constexpr int64_t kTableRows = 512;  // tokens whose rows of embedding and head are
constexpr int64_t kTokens = 16'384;  // that are walked, or all there are if fewer

class Measuring {
 public:
  explicit Measuring(const TypeChoiceJob& job) : job_(job) {
    for (const OpenTensor& tensor : open_tensors(*job.files, *job.recipe)) open_.emplace(tensor.layer, tensor);
  }

  void walk();
  TypeChoice choose() const;

 private:
  struct Sample {
    at::Tensor rows;     // [n, in] f32
    at::Tensor weights;  // [n] f64: what a row's d H d^T counts
  };

  const OpenTensor* find(const std::string& layer) const {
    const auto found = open_.find(layer);
    return found == open_.end() ? nullptr : &found->second;
  }
  std::filesystem::path cache_path() const;
  bool read_cached();
  void write_cached() const;
  void measure(const std::string& layer, const Sample& sample, const LayerHessian& curvature);
  void measure_block(DecoderBlock& block, const at::Tensor& x);
  void measure_tables(const at::Tensor& x);
  Sample rows_of(const std::string& layer, const at::Tensor& weight) const;
  double damp_of(const std::string& layer) const { return job_.recipe->wish_for(layer).damp; }

  TypeChoiceJob job_;
  std::map<std::string, OpenTensor> open_;
  std::map<std::string, std::vector<double>> losses_;  // by layer, in the order of types_for_rows
  int64_t tokens_ = 0;
};

at::Tensor first_tokens(const std::vector<std::vector<int32_t>>& windows, int64_t& tokens) {
  const auto length = static_cast<int64_t>(windows.front().size());
  const int64_t count = std::clamp<int64_t>(kTokens / length, 1, static_cast<int64_t>(windows.size()));
  tokens = count * length;
  at::Tensor ids = at::empty({count, length}, at::kLong);
  int64_t* id = ids.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    const auto& window = windows[static_cast<size_t>(i)];
    id = std::copy(window.begin(), window.end(), id);
  }
  return ids;
}

// Evenly from the whole, each standing for as many.
Measuring::Sample Measuring::rows_of(const std::string& layer, const at::Tensor& weight) const {
  const int64_t rows = weight.size(0), count = std::min(kRows, rows);
  const at::Tensor places = at::floor_divide(at::arange(count, at::kLong) * rows, count);
  at::Tensor weights = at::ones({rows}, at::kDouble);
  if (!job_.fisher->of_outputs.empty()) weights = job_.fisher->of_outputs.at(layer);
  const at::Tensor chosen = weights.index_select(0, places);
  const double scale = (weights.sum() / chosen.sum().clamp_min(1e-300)).item<double>();
  return {weight.index_select(0, places).to(at::kFloat).contiguous(), chosen * (scale / 4)};
}

void Measuring::measure(const std::string& layer, const Sample& sample, const LayerHessian& curvature) {
  std::vector<double>& losses = losses_[layer];
  const bool looked_up = !curvature.h.defined();
  std::map<int64_t, InverseFactor> factors;  // by columns_together
  for (const GgmlType* type : types_for_rows(sample.rows.size(1))) {
    stop_if_interrupted();
    const Problem problem{layer, sample.rows, curvature};
    GgufGptqOptions options;
    options.type = type;
    options.damp = damp_of(layer);
    const int64_t together = columns_together(*type);
    if (!looked_up && factors.count(together) == 0) factors.emplace(together, gptq_factor(problem, options));
    if (!looked_up) options.factor = &factors.at(together);
    const Solution solution = looked_up ? rtn_gguf(problem, *type) : gptq_gguf(problem, options);
    const at::Tensor difference = sample.rows - solution.dequantized;
    const at::Tensor rows = looked_up ? (difference.square() * curvature.sum_sq.to(at::kFloat)).sum(1).to(at::kDouble)
                                      : row_losses(difference, curvature.h);
    losses.push_back((rows * sample.weights).sum().item<double>());
  }
}

void Measuring::measure_block(DecoderBlock& block, const at::Tensor& x) {
  BlockState state = block.begin(x);
  for (size_t stage = 0; stage < block.stages().size(); ++stage) {
    const auto& names = block.stages()[stage];
    if (std::any_of(names.begin(), names.end(), [&](const auto& name) { return find(name) != nullptr; })) {
      at::Tensor input = state.input.reshape({-1, state.input.size(-1)});
      if (!job_.fisher->of_tokens.empty()) {
        const at::Tensor& weights = job_.fisher->of_tokens[static_cast<size_t>(block.index())][stage];
        input = input * weights.narrow(0, 0, tokens_).sqrt().unsqueeze(1);
      }
      HessianAccumulator accumulator(input.size(1));
      accumulator.add(input, names.front());
      const LayerHessian curvature = accumulator.finish();
      for (const std::string& name : names) {
        if (find(name) != nullptr) measure(name, rows_of(name, block.linear(name).weight), curvature);
      }
    }
    block.advance(state);
  }
}

// x: after the last block. See table_solver.h for H of a table that is embedding and head in one.
void Measuring::measure_tables(const at::Tensor& x) {
  for (const auto& [layer, tensor] : open_) {
    if (losses_.count(layer) > 0) continue;
    const Weight table = job_.files->read(layer + ".weight");
    const bool tied = job_.decoder->config().tied_embeddings;
    LayerHessian curvature = table_curvature(
        {job_.files, job_.decoder, layer, !tied && layer.ends_with("embed_tokens"), job_.fisher->of_embedding}, x);
    const CounterRandom random(job_.recipe->seed, "rows of tables");
    const auto& windows = job_.tokens->calibration;
    Sample sample{at::empty({kTableRows, table.cols()}, at::kFloat),
                  at::full({kTableRows}, 1.0 / 4 / kTableRows, at::kDouble)};
    for (int64_t i = 0; i < kTableRows; ++i) {
      const auto& window = windows[random.below(static_cast<uint64_t>(2 * i), windows.size())];
      const int64_t row = window[random.below(static_cast<uint64_t>(2 * i + 1), window.size())];
      table.unpack_rows(row, 1, {sample.rows.data_ptr<float>() + i * table.cols(), static_cast<size_t>(table.cols())});
    }
    measure(layer, sample, curvature);
  }
}

fs::path Measuring::cache_path() const {
  Fingerprint key;
  key.add(job_.key).add("type losses 2 " + std::to_string(kRows) + " " + std::to_string(kTokens));
  key.add(job_.fisher->of_outputs.empty() ? "all tokens alike" : "guided");
  for (const auto& [layer, tensor] : open_) key.add(layer + " " + std::to_string(damp_of(layer)));
  return cache_folder() / ("type-losses-" + key.hex() + ".json");
}

// Another size of the same model asks for the same figures.
bool Measuring::read_cached() {
  try {
    const nlohmann::json kept = read_json_file(cache_path());
    for (const auto& [layer, tensor] : open_) {
      std::vector<double> losses;
      for (const GgmlType* type : types_for_rows(tensor.shape[1])) {
        losses.push_back(kept.at(layer).at(std::string(type->name)).get<double>());
        if (!(losses.back() >= 0)) return false;
      }
      losses_[layer] = losses;
    }
    return true;
  } catch (const std::exception&) {
    losses_.clear();
    return false;  // not there, or not ours: measured anew
  }
}

void Measuring::write_cached() const {
  nlohmann::json kept;
  for (const auto& [layer, tensor] : open_) {
    const auto types = types_for_rows(tensor.shape[1]);
    for (size_t i = 0; i < types.size(); ++i) kept[layer][std::string(types[i]->name)] = losses_.at(layer)[i];
  }
  try {
    std::error_code error;
    fs::create_directories(cache_folder(), error);
    write_file_atomically(cache_path(), dump_json(kept, 1) + "\n");
  } catch (const std::exception& reason) {
    log_line(Level::warning, std::string("what the types cost is not cached: ") + reason.what());
  }
}

void Measuring::walk() {
  if (read_cached()) return;
  const int64_t layers = job_.decoder->config().layers;
  Progress progress("types measured", layers + 1);
  at::Tensor x = job_.decoder->embed(first_tokens(job_.tokens->calibration, tokens_));
  for (int64_t i = 0; i < layers; ++i) {
    stop_if_interrupted();
    DecoderBlock block = job_.decoder->block(i);
    measure_block(block, x);
    block.forward_(x);
    progress.update(i + 1, "");
    progress.log("types measured in block " + std::to_string(i));
  }
  measure_tables(x);
  write_cached();
}

TypeChoice Measuring::choose() const {
  std::vector<std::vector<Option>> items;
  std::vector<std::string> layers;
  std::map<std::string, const GgmlType*> smallest;
  for (const auto& [layer, tensor] : open_) {
    std::vector<Option>& options = items.emplace_back();
    layers.push_back(layer);
    const auto types = types_for_rows(tensor.shape[1]);
    const std::vector<double>& losses = losses_.at(layer);
    for (size_t i = 0; i < types.size(); ++i) {
      const auto elements = static_cast<uint64_t>(tensor.shape[0] * tensor.shape[1]);
      const uint64_t bytes =
          elements / static_cast<uint64_t>(types[i]->block_elements) * static_cast<uint64_t>(types[i]->block_bytes);
      options.push_back({(bytes + 31) / 32 * 32, losses[i]});
    }
    smallest[layer] = types.front();
  }
  // What the file holds beside these tensors.
  const Plan least = make_plan(*job_.files, with_types(*job_.recipe, smallest), job_.plan_options);
  uint64_t least_cost = 0;
  for (const auto& options : items) least_cost += options.front().cost;
  const uint64_t fixed = least.sizes.weight_bytes - least_cost;
  for (uint64_t room = job_.recipe->size - fixed;;) {
    const std::vector<size_t> chosen = choose_options(items, room);
    PARE_ASSERT(chosen.size() == items.size());  // the plan was possible
    TypeChoice choice;
    for (size_t i = 0; i < items.size(); ++i) {
      choice.types[layers[i]] = types_for_rows(open_.at(layers[i]).shape[1])[chosen[i]];
      choice.predicted_kl += items[i][chosen[i]].loss;
    }
    const Plan plan = make_plan(*job_.files, with_types(*job_.recipe, choice.types), job_.plan_options);
    if (plan.sizes.weight_bytes <= job_.recipe->size) return choice;
    // larger types made more parts of a split file, each with a header
    room -= std::min(room - least_cost, plan.sizes.weight_bytes - job_.recipe->size);
  }
}

}  // namespace

TypeChoice choose_types(const TypeChoiceJob& job) {
  Measuring measuring(job);
  measuring.walk();
  return measuring.choose();
}

}  // namespace pare
