// What differs between the Llama-like families, as fields: one decoder reads this and nothing else.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace pare {

enum class Activation { silu, gelu_tanh };

struct RopeScaling {
  enum class Type { none, linear, llama3, yarn } type = Type::none;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;              // yarn
  double mscale = 0, mscale_all_dim = 0;             // yarn, DeepSeek's variant; 0: absent
  std::optional<double> attention_factor;            // yarn; absent: 0.1 ln(factor) + 1
  bool truncate = true;                              // yarn: round the correction range outwards
  int64_t original_max_positions = 0;

  bool operator==(const RopeScaling&) const = default;
};

struct Rope {
  double theta = 10000;
  RopeScaling scaling;

  bool operator==(const Rope&) const = default;
};

struct DecoderConfig {
  std::string model_type;
  // What the files put before "layers.0..." and the name of the head; Decoder looks which of the usual ones it is.
  std::string prefix = "model.";
  std::string head_name = "lm_head";
  int64_t vocab_size = 0, hidden = 0, intermediate = 0, layers = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t max_positions = 0;
  double norm_eps = 1e-6;
  Activation activation = Activation::silu;
  bool tied_embeddings = false;
  bool attention_bias = false, output_bias = false, mlp_bias = false;  // q,k,v; o; gate,up,down
  bool qk_norm = false;                                                // RMSNorm over head_dim of q and k before RoPE
  bool norm_plus_one = false;                                          // Gemma: norms multiply by (1 + w)
  bool post_norms = false;        // Gemma: a norm after attention and after the MLP as well
  bool scale_embeddings = false;  // Gemma: embeddings times sqrt(hidden), rounded to the model's dtype
  double attention_scale = 0;     // multiplies q.k; 1/sqrt(head_dim) or 1/sqrt(query_pre_attn_scalar)
  double attention_softcap = 0, logit_softcap = 0;  // 0: none
  int64_t sliding_window = 0;                       // tokens seen, itself included; 0: none
  Rope rope, local_rope;                            // local_rope: of sliding layers (Gemma-3); elsewhere equal to rope
  std::vector<bool> layer_is_sliding;               // [layers]
  std::vector<bool> layer_has_rope;                 // [layers]; SmolLM3 leaves it out of every fourth

  bool operator==(const DecoderConfig&) const = default;

  // From config.json of transformers 4 or 5 (Llama, Mistral, Qwen2/2.5/3, SmolLM2/3, Gemma-2/3 text; Gemma-3's nested
  // text_config). Defaults are those of transformers' config classes. UnsupportedError names an unknown model_type,
  // rope type or field value that would change the result; InputError a field that is missing, of another type or out
  // of range.
  static DecoderConfig from_hf(const nlohmann::json& config);

  // Names of the linears of block `index` that share an input, in the order they run:
  // {q, k, v}, {o}, {gate, up}, {down}.
  std::vector<std::vector<std::string>> linear_stages(int64_t index) const;
  std::string block_prefix(int64_t index) const;  // "model.layers.3."
  std::vector<std::string> norm_names() const;    // of a block: "input_layernorm", ..., "self_attn.k_norm"
  const char* mlp_norm_name() const { return post_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm"; }
  const Rope& rope_of(int64_t index) const { return layer_is_sliding[static_cast<size_t>(index)] ? local_rope : rope; }
};

}  // namespace pare
