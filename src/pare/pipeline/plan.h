// The plan: everything that a run will do and cost, from headers alone and before any work.
//
// Which linears are compressed and into what form, what is left alone and why, the size of the result to the byte, peak
// memory, disk and time, each with its basis. `pare compress --dry-run` shows it and stops; the run follows it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "pare/pipeline/exporter.h"
#include "pare/pipeline/recipe.h"
#include "pare/weights/model_files.h"
#include "pare/weights/weight_form.h"

namespace pare {

struct LayerPlan {
  std::string name;   // "model.layers.0.self_attn.q_proj"; its parameter is name + ".weight"
  std::string kind;   // "q_proj", or "embed" or "head"
  int64_t block = 0;  // of embedding and head: the number of blocks
  LayerWish wish;     // group resolved: what the solver gets
  WeightForm form;    // what is written
  uint64_t bytes_before = 0, bytes_after = 0;

  bool is_table() const { return kind == "embed" || kind == "head"; }  // solved after the blocks, in strips of rows
  nlohmann::json to_json() const;
};

struct LeftAlone {
  std::string name;
  std::string why;
  WeightForm form;
  uint64_t bytes = 0;  // in the result
};

constexpr int64_t kTableStrip = 8192;  // rows of embedding or head that are solved together
constexpr int64_t kTextsAtOnce = 32;   // that the model writes together when it writes its calibration text

// How activations are kept between blocks.
struct MemoryPlan {
  int64_t batch_tokens = 2048;     // that go through a block together
  uint64_t limit_bytes = 0;        // --memory, or what the machine has to spare
  uint64_t peak_bytes = 0;         // the estimate
  uint64_t activations_bytes = 0;  // of them: hidden states of all calibration tokens, and what is kept beside
  uint64_t kept_bytes = 0;         // of those: inputs of down_proj, kept instead of computed twice, as far as they fit
  uint64_t curvature_bytes = 0;    // of them: the largest set of Hessians and its factors
  uint64_t block_bytes = 0;        // of them: one block's weights and the working copies of the largest
  uint64_t evaluation_bytes = 0;   // peak of the evaluation, which does not overlap the solving
  uint64_t gradient_bytes = 0;     // peak of the pass for gradients, where the run is guided; before the solving
  uint64_t checkpoint_bytes = 0;   // of them: the blocks' inputs that wait for the way back
  uint64_t own_text_bytes = 0;     // while the model writes its calibration text (once, then it is cached)
  bool writes_sample = false;      // the compressed model writes a sentence: the whole of it fits
  bool spill_activations = false;  // to disk, since they do not fit the limit
};

struct Plan {
  std::vector<LayerPlan> layers;
  std::vector<LeftAlone> left_alone;
  bool chooses_types = false;      // while it runs, for Recipe::size
  std::vector<std::string> notes;  // choices made for the user: "groups of 64, since 128 does not divide 576"
  OutputFormat format = OutputFormat::hf;
  ExportSizes sizes;           // of the weight files, to the byte
  uint64_t bytes_before = 0;   // of the weight files of the model
  double bits_per_weight = 0;  // of the compressed linears
  MemoryPlan memory;
  uint64_t disk_bytes = 0;         // result, journal and spilled activations together
  double seconds = 0;              // estimate
  double flops = 0;                // that it rests on
  int64_t calibration_tokens = 0;  // 0: no layer needs any
  int64_t held_out_tokens = 0;     // of the calibration text, for the evaluation

  // The wish of most layers, for formats that name one method.
  const LayerWish& main_wish() const;
  nlohmann::json to_json() const;
  std::string text() const;  // for people, at most 80 columns
};

// Windows of `length` tokens that the model writes when it writes its own text: for the calibration, then, rounded up,
// those held out for the evaluation.
constexpr int64_t own_texts(int64_t length, int64_t calibration_tokens, int64_t held_out_tokens) {
  return calibration_tokens / length + (held_out_tokens + length - 1) / length;
}

struct PlanOptions {
  uint64_t memory_bytes = 0;  // 0: what the machine has to spare
  int threads = 0;            // 0: all
  int64_t evaluation_tokens = 0;
  bool evaluation_text = false;  // of their own; else they are held out of the calibration text
  std::string gguf_name = {};    // ExportJob::gguf_name
};

// UsageError: a group that does not divide, a form that the output format lacks, an override that matches nothing, a
// model with nothing to compress. InputError: an importance matrix of another model, or a damaged one. ResourceError:
// the memory limit is too small, with the least that would do.
Plan make_plan(const ModelFiles& files, const Recipe& recipe, const PlanOptions& options);

}  // namespace pare
