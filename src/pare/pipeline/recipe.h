// Recipe: what to do to which layers. A small YAML file, and also what flags are turned into.
//
//   method: gptq                 # gptq | rtn | sparsegpt | wanda | magnitude | none
//   bits: 4                      # 2..8 or ternary
//   type: Q4_K_M                 # instead of bits: a GGUF type, or a mix of them by name
//   size: 90MB                   # instead of a type: GGUF types chosen for the least error in a file of this size
//   split: 2GB                   # a GGUF larger than this in parts of at most that
//   group: 64                    # inputs that share a scale; -1: the whole row; auto: 128 where it divides
//   sparsity: "2:4"              # or 0.5
//   format: hf
//   imatrix: imatrix.gguf        # llama.cpp's importance matrix, for rtn with type: no calibration
//   calibration: {files: [text.txt], samples: 128, length: 512, seed: 0}
//   layers:                      # later ones win
//     - match: "*.down_proj"     # exact name, glob with *, or re:REGEX (Perl's, from the start of the name)
//       bits: 3
//
// Per layer or for all: method bits type group symmetric scale_dtype search sparsity damp act_order static_groups
// descent_sweeps refit_scales shift block refine. For all: size split format imatrix calibration true_sequential guided
// seed layers. `bits: none` and `sparsity: none` take back what was said before. Files are relative to where `pare`
// runs. Unknown keys, wrong types, values out of range and keys given twice are UsageErrors with file, line and the
// nearest known key. The common subset of llm-compressor's recipes and GPTQModel's quantize_config.json are read too,
// and what of them cannot be kept is refused by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pare/io/dtype.h"
#include "pare/weights/pattern.h"

namespace pare {

// Everything about one layer, resolved: no field is left to guess.
struct LayerWish {
  std::string method = "gptq";  // gptq | rtn | sparsegpt | wanda | magnitude | none
  int bits = 0;                 // 2..8; 0: not quantized (pruning only); ternary: 2 with `ternary`
  bool ternary = false;
  std::string type = {};    // a GGUF type or mix (gguf_mix.h), instead of bits; empty: none
  bool exact_type = false;  // said for this very tensor: no rule of a mix goes over it
  int64_t group = 0;  // inputs that share a scale; -1: the whole row; 0 (auto): the plan chooses, 128 where it divides
  bool symmetric = true;
  Dtype scale_dtype = Dtype::f16;
  // Search for the scale with the least weighted error, instead of that of the largest weight. Not said: rtn does not,
  // since without a Hessian to weigh by it clips the large weights that matter (SmolLM2, 3 bits: perplexity 71 with it,
  // 60 without); all others do, and ternary.
  std::optional<bool> search = {};
  bool searches() const { return search.value_or(method != "rtn" || ternary); }
  std::optional<Pattern> sparsity = {};
  double damp = 0.01;
  bool act_order = true;
  bool static_groups = true;
  int descent_sweeps = 2;
  bool refit_scales = true;
  double shift = 0;
  int64_t block = 128;
  int refine = 3;  // sparsegpt: rounds of exchanging weights, each with solving for those kept; 0: the paper's one walk
  bool operator==(const LayerWish&) const = default;
};

// A LayerWish with holes: what a recipe says at its top level, or for the layers that `match`.
struct WishPatch {
  std::optional<std::string> method;
  std::optional<int> bits;  // with `ternary` set: 2; 0: none
  std::optional<bool> ternary;
  std::optional<std::string> type;
  std::optional<int64_t> group;
  std::optional<bool> symmetric;
  std::optional<Dtype> scale_dtype;
  std::optional<bool> search;
  std::optional<Pattern> sparsity;  // unstructured 0: none
  std::optional<double> damp;
  std::optional<bool> act_order;
  std::optional<bool> static_groups;
  std::optional<int> descent_sweeps;
  std::optional<bool> refit_scales;
  std::optional<double> shift;
  std::optional<int64_t> block;
  std::optional<int> refine;
  bool operator==(const WishPatch&) const = default;
};

struct LayerOverride {
  std::string match;
  WishPatch patch;
  bool optional = false;  // may match no layer
  bool operator==(const LayerOverride&) const = default;
};

struct CalibrationWish {
  static constexpr int64_t kMostSamples = 1'000'000'000, kShortest = 8, kLongest = int64_t{1} << 20;
  std::vector<std::filesystem::path> files;  // empty: text sampled from the model itself
  int64_t samples = 128;
  int64_t length = 512;  // tokens a sample
  bool operator==(const CalibrationWish&) const = default;
};

struct Recipe {
  WishPatch wish;
  std::vector<LayerOverride> layers;
  std::optional<std::string> format;  // hf | gptq | compressed-tensors | gguf
  uint64_t size = 0;                  // of the GGUF file in bytes at most; 0: as the types give it
  uint64_t split = 0;                 // of each part of a GGUF in bytes at most; 0: one file
  std::filesystem::path imatrix;      // an importance matrix (pipeline/importance.h); empty: none
  CalibrationWish calibration;
  // Each set of linears of a block sees the inputs that the sets before it, compressed, give.
  bool true_sequential = true;
  // Tokens count in the curvature by how much the model's predictions feel them (curvature/output_fisher.h).
  // Costs as much as the rest of the run. Not said: for GGUF types.
  std::optional<bool> guided = {};
  bool is_guided() const { return guided.value_or(wish.type.has_value() || size > 0); }
  uint64_t seed = 0;

  static Recipe from_yaml(std::string_view text, const std::string& where);
  static Recipe from_file(const std::filesystem::path& path);
  std::string to_yaml() const;     // from_yaml(to_yaml()) is the same recipe
  nlohmann::json to_json() const;  // the same keys and values

  // For one linear ("model.layers.0.self_attn.q_proj"): defaults, then the top level, then each override that matches.
  // The method defaults to gptq with bits, sparsegpt with sparsity, with both sparsegpt rounding as it goes, with
  // neither none. Method none means neither bits nor sparsity.
  LayerWish wish_for(const std::string& layer) const;
  // Overrides that match none of these layers: almost always a misspelling, so the plan refuses them.
  std::vector<std::string> unmatched(const std::vector<std::string>& layers) const;
  bool operator==(const Recipe&) const = default;
};

}  // namespace pare
