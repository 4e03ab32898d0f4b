// Recipe: what to do to which layers. A small YAML file, and also what flags are turned into.
//
//   method: gptq                 # gptq | rtn | sparsegpt | wanda | magnitude | none
//   bits: 4                      # 2..8 or ternary
//   group: 64                    # inputs that share a scale; -1: the whole row
//   sparsity: "2:4"              # or 0.5
//   format: hf
//   calibration: {files: [text.txt], samples: 128, length: 512, seed: 0}
//   layers:                      # later ones win; exact name, glob with *, or re:REGEX
//     - match: "*.down_proj"
//       bits: 3
//
// Unknown keys, wrong types and values out of range are UsageErrors with file, line and the nearest known key. The
// common subset of llm-compressor's recipes is read too, and what of it cannot be kept is refused by name.
#pragma once

#include <cstdint>
#include <filesystem>
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
  int64_t group = 128;
  bool symmetric = true;
  Dtype scale_dtype = Dtype::f16;
  bool search = true;  // search for the scale with the least weighted error
  std::optional<Pattern> sparsity;
  double damp = 0.01;
  bool act_order = true;
  bool static_groups = true;
  int descent_sweeps = 0;
  bool refit_scales = false;
  double shift = 0;
  int64_t block = 128;
};

// A LayerWish with holes: what a recipe says at its top level, or for the layers that `match`.
struct WishPatch {
  std::optional<std::string> method;
  std::optional<int> bits;  // with `ternary` set: 2
  std::optional<bool> ternary;
  std::optional<int64_t> group;
  std::optional<bool> symmetric;
  std::optional<Dtype> scale_dtype;
  std::optional<bool> search;
  std::optional<Pattern> sparsity;
  std::optional<double> damp;
  std::optional<bool> act_order;
  std::optional<bool> static_groups;
  std::optional<int> descent_sweeps;
  std::optional<bool> refit_scales;
  std::optional<double> shift;
  std::optional<int64_t> block;
};

struct LayerOverride {
  std::string match;
  WishPatch patch;
};

struct CalibrationWish {
  std::vector<std::filesystem::path> files;  // empty: text sampled from the model itself
  int64_t samples = 128;
  int64_t length = 512;  // tokens a sample
};

struct Recipe {
  WishPatch wish;
  std::vector<LayerOverride> layers;
  std::optional<std::string> format;  // hf | gptq | compressed-tensors | gguf
  CalibrationWish calibration;
  bool true_sequential =
      true;  // each set of linears of a block sees the inputs that the sets before it, compressed, give
  uint64_t seed = 0;

  static Recipe from_yaml(std::string_view text, const std::string& where);
  static Recipe from_file(const std::filesystem::path& path);
  std::string to_yaml() const;  // from_yaml(to_yaml()) is the same recipe

  // For one linear ("model.layers.0.self_attn.q_proj"): defaults, then the top level, then each override that matches.
  // The method defaults to gptq with bits, sparsegpt with sparsity, and with both sparsegpt rounding as it goes.
  LayerWish wish_for(const std::string& layer) const;
  // Overrides that match none of these layers: almost always a misspelling, so the plan refuses them.
  std::vector<std::string> unmatched(const std::vector<std::string>& layers) const;
};

}  // namespace pare
