#include "pare/weights/decoder_config.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "pare/base/error.h"
#include "pare/weights/config_fields.h"
#include "pare/weights/encoder_config.h"

namespace pare {
namespace {

using nlohmann::json;

// What a family fixes that config.json does not say.
struct Family {
  bool qkv_bias_always = false;     // Qwen2
  bool attention_bias_key = false;  // q, k, v and o follow attention_bias
  bool mlp_bias_key = false;
  bool gemma = false;  // (1 + w) norms, four of them, scaled embeddings, query_pre_attn_scalar
  bool qk_norm = false;
  bool tied_by_default = false;
  double rope_theta = 10000;
  std::optional<int64_t> head_dim = std::nullopt;  // where absent means this and not hidden / heads
  int64_t max_positions = 2048;
};

const std::map<std::string, Family>& families() {
  static const std::map<std::string, Family> table{
      {"llama", {.attention_bias_key = true, .mlp_bias_key = true}},
      {"mistral", {.max_positions = 131072}},
      {"qwen2", {.qkv_bias_always = true, .max_positions = 32768}},
      {"qwen3", {.attention_bias_key = true, .qk_norm = true, .head_dim = 128, .max_positions = 32768}},
      {"smollm3",
       {.attention_bias_key = true,
        .mlp_bias_key = true,
        .tied_by_default = true,
        .rope_theta = 2e6,
        .max_positions = 32768}},
      {"gemma2",
       {.attention_bias_key = true, .gemma = true, .tied_by_default = true, .head_dim = 256, .max_positions = 8192}},
      {"gemma3_text",
       {.attention_bias_key = true,
        .gemma = true,
        .qk_norm = true,
        .tied_by_default = true,
        .rope_theta = 1e6,
        .head_dim = 256,
        .max_positions = 131072}},
  };
  return table;
}

RopeScaling::Type rope_type(const ConfigFields& fields) {
  const std::string type = fields.text("rope_type").value_or(fields.text("type").value_or("default"));
  if (type == "default") return RopeScaling::Type::none;
  if (type == "linear") return RopeScaling::Type::linear;
  if (type == "llama3") return RopeScaling::Type::llama3;
  if (type == "yarn") return RopeScaling::Type::yarn;
  throw UnsupportedError(fields.where() + ": rope type \"" + type +
                         "\" is not supported; known are default, linear, llama3 and yarn");
}

// `object`: rope_scaling of transformers 4 or one dict of transformers 5's rope_parameters.
Rope read_rope(const json& object, const std::string& where, double theta, int64_t max_positions) {
  const ConfigFields fields(object, where);
  Rope rope;
  rope.theta = fields.positive("rope_theta", theta);
  if (fields.positive("partial_rotary_factor", 1.0) != 1.0) {
    throw UnsupportedError(where + ": partial_rotary_factor is " + shown(object["partial_rotary_factor"]) +
                           "; only rotation of the whole head is supported");
  }
  if (fields.find("mrope_section") != nullptr) {
    throw UnsupportedError(where + ": mrope_section (positions in several dimensions) is not supported");
  }
  RopeScaling& scaling = rope.scaling;
  scaling.type = rope_type(fields);
  if (scaling.type == RopeScaling::Type::none) return rope;
  scaling.original_max_positions = fields.integer("original_max_position_embeddings", max_positions, 1, kMaxPositions);
  std::optional<double> default_factor;
  if (scaling.type == RopeScaling::Type::yarn) {
    default_factor = static_cast<double>(max_positions) / static_cast<double>(scaling.original_max_positions);
  }
  scaling.factor = fields.positive("factor", default_factor);
  if (scaling.type == RopeScaling::Type::llama3) {
    scaling.low_freq_factor = fields.positive("low_freq_factor", std::nullopt);
    scaling.high_freq_factor = fields.positive("high_freq_factor", std::nullopt);
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      throw InputError(where + ": high_freq_factor must be above low_freq_factor");
    }
  }
  if (scaling.type == RopeScaling::Type::yarn) {
    if (fields.find("attention_factor") != nullptr) scaling.attention_factor = fields.positive("attention_factor", {});
    scaling.beta_fast = fields.positive("beta_fast", 32.0);
    scaling.beta_slow = fields.positive("beta_slow", 1.0);
    // 0 means absent there too
    const auto optional_scale = [&](const char* key) {
      const json* value = fields.find(key);
      return value != nullptr && value->is_number() && value->get<double>() == 0 ? 0.0 : fields.positive(key, 0.0);
    };
    scaling.mscale = optional_scale("mscale");
    scaling.mscale_all_dim = optional_scale("mscale_all_dim");
    scaling.truncate = fields.flag("truncate", true);
    if (rope.theta == 1.0) throw InputError(where + ": rope_theta is 1, which yarn cannot scale");
  }
  return rope;
}

void read_ropes(const ConfigFields& fields, const Family& family, bool gemma3, DecoderConfig& config) {
  const double theta = fields.positive("rope_theta", family.rope_theta);
  const double local_theta = gemma3 ? fields.positive("rope_local_base_freq", 10000.0) : theta;
  if (fields.positive("partial_rotary_factor", 1.0) != 1.0) {
    throw UnsupportedError(fields.where() +
                           ": partial_rotary_factor is not 1; only rotation of the whole head is "
                           "supported");
  }
  static const json empty = json::object();
  const json* parameters = fields.find("rope_parameters");
  const json* scaling = fields.find("rope_scaling");
  const std::string here = fields.where() + ": ";

  if (parameters != nullptr && parameters->is_object() &&
      (parameters->contains("full_attention") || parameters->contains("sliding_attention"))) {
    const auto of = [&](const char* kind) {
      const auto it = parameters->find(kind);
      return it == parameters->end() || it->is_null() ? empty : *it;
    };
    config.rope = read_rope(of("full_attention"), here + "rope_parameters.full_attention", theta, config.max_positions);
    config.local_rope = read_rope(of("sliding_attention"), here + "rope_parameters.sliding_attention", local_theta,
                                  config.max_positions);
    return;
  }
  const json& one = scaling != nullptr ? *scaling : parameters != nullptr ? *parameters : empty;
  config.rope =
      read_rope(one, here + (scaling != nullptr ? "rope_scaling" : "rope_parameters"), theta, config.max_positions);
  config.local_rope = config.rope;
  // Gemma-3: the scaling is of its global layers only
  if (gemma3) config.local_rope = Rope{.theta = local_theta, .scaling = {}};
}

Activation read_activation(const ConfigFields& fields, bool gemma) {
  const char* key = gemma ? "hidden_activation" : "hidden_act";
  const std::string name = fields.text(key).value_or(gemma ? "gelu_pytorch_tanh" : "silu");
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return Activation::gelu_tanh;
  throw UnsupportedError(fields.where() + ": " + key + " is \"" + name + "\"; known are silu and gelu_pytorch_tanh");
}

// The list of a key that has one entry a layer, or nothing when absent.
const json* layer_list(const ConfigFields& fields, const char* key, int64_t layers) {
  const json* list = fields.find(key);
  if (list == nullptr) return nullptr;
  if (!list->is_array() || static_cast<int64_t>(list->size()) < layers) {
    throw InputError(fields.where() + ": " + key + " is " + shown(*list) +
                     ", expected a list with an entry for each of " + std::to_string(layers) + " layers");
  }
  return list;
}

void read_layer_kinds(const ConfigFields& fields, DecoderConfig& config) {
  const std::string& type = config.model_type;
  const size_t layers = static_cast<size_t>(config.layers);
  config.layer_has_rope.assign(layers, true);
  if (type == "smollm3") {
    const json* rope = layer_list(fields, "no_rope_layers", config.layers);  // 1: with rope, despite its name
    const int64_t interval = fields.integer("no_rope_layer_interval", 4, 1, kMaxLayers);
    for (size_t i = 0; i < layers; ++i) {
      if (rope != nullptr && !(*rope)[i].is_number_integer() && !(*rope)[i].is_boolean()) {
        throw InputError(fields.where() + ": no_rope_layers holds " + shown((*rope)[i]) + ", expected 0 or 1");
      }
      config.layer_has_rope[i] = rope == nullptr           ? (static_cast<int64_t>(i) + 1) % interval != 0
                                 : (*rope)[i].is_boolean() ? (*rope)[i].get<bool>()
                                                           : (*rope)[i].get<int64_t>() != 0;
    }
  }

  const bool gemma = type == "gemma2" || type == "gemma3_text";
  const bool mistral = type == "mistral";
  const bool window_wanted = gemma || mistral || (type != "llama" && fields.flag("use_sliding_window", false));
  const int64_t default_window = type == "smollm3" || fields.is_null("sliding_window") ? 0 : 4096;
  config.sliding_window = window_wanted ? fields.integer("sliding_window", default_window, 0, kMaxPositions) : 0;
  config.layer_is_sliding.assign(layers, false);
  if (config.sliding_window == 0 && !gemma) return;

  if (const json* kinds = mistral ? nullptr : layer_list(fields, "layer_types", config.layers)) {
    for (size_t i = 0; i < layers; ++i) {
      const json& kind = (*kinds)[i];
      if (kind != "sliding_attention" && kind != "full_attention") {
        throw UnsupportedError(fields.where() + ": layer_types holds " + shown(kind) +
                               "; known are full_attention and sliding_attention");
      }
      config.layer_is_sliding[i] = kind == "sliding_attention";
    }
    return;
  }
  const int64_t pattern = type == "gemma2" ? 2 : gemma ? fields.integer("sliding_window_pattern", 6, 1, kMaxLayers) : 1;
  const int64_t first_sliding =
      type == "qwen2" || type == "qwen3" ? fields.integer("max_window_layers", 28, 0, kMaxLayers) : 0;
  for (int64_t i = 0; i < config.layers; ++i) {
    const size_t layer = static_cast<size_t>(i);
    if (gemma) config.layer_is_sliding[layer] = (i + 1) % pattern != 0;
    if (mistral) config.layer_is_sliding[layer] = true;
    if (type == "qwen2" || type == "qwen3") config.layer_is_sliding[layer] = i >= first_sliding;
    if (type == "smollm3") config.layer_is_sliding[layer] = !config.layer_has_rope[layer];
  }
}

}  // namespace

DecoderConfig DecoderConfig::from_hf(const json& whole) {
  const ConfigFields outer(whole, "config.json");
  const std::string outer_type = outer.text("model_type").value_or("");
  const bool nested = outer_type == "gemma3";
  if (nested && outer.find("text_config") == nullptr) throw InputError("config.json: text_config is missing");
  const ConfigFields fields(nested ? *outer.find("text_config") : whole,
                            nested ? "config.json: text_config" : "config.json");

  DecoderConfig c;
  c.model_type = nested ? fields.text("model_type").value_or("gemma3_text") : outer_type;
  const auto found = families().find(c.model_type);
  if (found == families().end()) {
    if (is_encoder(whole)) {
      throw UnsupportedError("config.json: model_type is \"" + c.model_type +
                             "\", an encoder, which Pare inspects and converts and does not run");
    }
    std::string known;
    for (const auto& [name, unused] : families()) known += (known.empty() ? "" : ", ") + name;
    throw UnsupportedError("config.json: model_type is " +
                           (c.model_type.empty() ? std::string("missing") : "\"" + c.model_type + "\"") +
                           "; supported are " + known + " and gemma3");
  }
  const Family& family = found->second;
  const bool gemma3 = c.model_type == "gemma3_text";
  // Gemma-3's nested config leaves out what its class has by default
  const auto default_of = [&](int64_t value) { return gemma3 ? std::optional<int64_t>(value) : std::nullopt; };

  c.vocab_size = fields.integer("vocab_size", default_of(262208), 1, kMaxVocab);
  c.hidden = fields.integer("hidden_size", default_of(2304), 1, kMaxWidth);
  c.intermediate = fields.integer("intermediate_size", default_of(9216), 1, kMaxWidth);
  c.layers = fields.integer("num_hidden_layers", default_of(26), 1, kMaxLayers);
  c.heads = fields.integer("num_attention_heads", default_of(8), 1, kMaxHeads);
  c.kv_heads = fields.integer("num_key_value_heads", gemma3 ? 4 : c.heads, 1, kMaxHeads);
  if (c.heads % c.kv_heads != 0) {
    throw InputError(fields.where() + ": num_attention_heads " + std::to_string(c.heads) +
                     " is not a multiple of num_key_value_heads " + std::to_string(c.kv_heads));
  }
  if (fields.find("head_dim") == nullptr && !family.head_dim && c.hidden % c.heads != 0) {
    throw InputError(fields.where() + ": hidden_size " + std::to_string(c.hidden) +
                     " is not a multiple of num_attention_heads " + std::to_string(c.heads) +
                     ", and there is no head_dim");
  }
  c.head_dim = fields.integer("head_dim", family.head_dim.value_or(c.hidden / c.heads), 1, kMaxHeadDim);
  if (c.head_dim % 2 != 0) {
    throw InputError(fields.where() + ": head_dim is " + std::to_string(c.head_dim) +
                     ", expected an even number (positions rotate pairs)");
  }
  if (c.heads * c.head_dim > kMaxWidth) {
    throw InputError(fields.where() + ": " + std::to_string(c.heads) + " heads of " + std::to_string(c.head_dim) +
                     " are wider than " + std::to_string(kMaxWidth));
  }
  c.max_positions = fields.integer("max_position_embeddings", family.max_positions, 1, kMaxPositions);
  c.norm_eps = fields.positive("rms_norm_eps", 1e-6);
  c.activation = read_activation(fields, family.gemma);
  c.tied_embeddings = fields.flag("tie_word_embeddings", outer.flag("tie_word_embeddings", family.tied_by_default));
  c.attention_bias = family.qkv_bias_always || (family.attention_bias_key && fields.flag("attention_bias", false));
  c.output_bias = family.attention_bias_key && fields.flag("attention_bias", false);
  c.mlp_bias = family.mlp_bias_key && fields.flag("mlp_bias", false);
  c.qk_norm = family.qk_norm;
  c.norm_plus_one = c.post_norms = c.scale_embeddings = family.gemma;

  const double score_width =
      family.gemma ? fields.positive("query_pre_attn_scalar", 256.0) : static_cast<double>(c.head_dim);
  c.attention_scale = 1 / std::sqrt(score_width);
  if (c.model_type == "gemma2") {
    // absent: the class's default; null: none
    const auto cap = [&](const char* key, double fallback) {
      return fields.is_null(key) ? 0.0 : fields.positive(key, fallback);
    };
    c.attention_softcap = cap("attn_logit_softcapping", 50);
    c.logit_softcap = cap("final_logit_softcapping", 30);
  }
  if (gemma3) {
    c.logit_softcap = fields.positive("final_logit_softcapping", 0.0);
    if (fields.find("attn_logit_softcapping") != nullptr) {
      throw UnsupportedError(fields.where() + ": attn_logit_softcapping is set, which no Gemma-3 has; expected null");
    }
  }
  if (family.gemma && fields.flag("use_bidirectional_attention", false)) {
    throw UnsupportedError(fields.where() + ": use_bidirectional_attention is true; only causal models are supported");
  }
  read_ropes(fields, family, gemma3, c);
  read_layer_kinds(fields, c);
  return c;
}

std::string DecoderConfig::block_prefix(int64_t index) const {
  return prefix + "layers." + std::to_string(index) + ".";
}

std::vector<std::string> DecoderConfig::norm_names() const {
  std::vector<std::string> names{"input_layernorm", "post_attention_layernorm"};
  if (post_norms) names.insert(names.end(), {"pre_feedforward_layernorm", "post_feedforward_layernorm"});
  if (qk_norm) names.insert(names.end(), {"self_attn.q_norm", "self_attn.k_norm"});
  return names;
}

std::vector<std::vector<std::string>> DecoderConfig::linear_stages(int64_t index) const {
  const std::string p = block_prefix(index);
  return {{p + "self_attn.q_proj", p + "self_attn.k_proj", p + "self_attn.v_proj"},
          {p + "self_attn.o_proj"},
          {p + "mlp.gate_proj", p + "mlp.up_proj"},
          {p + "mlp.down_proj"}};
}

}  // namespace pare
