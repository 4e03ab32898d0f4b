#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/weights/decoder_config.h"
#include "pare/weights/encoder_config.h"
#include "pare/weights/gguf_encoder.h"
#include "pare/weights/gguf_keys.h"
#include "pare/weights/gguf_model.h"
#include "pare/weights/rope_freqs.h"

namespace pare {
namespace {

using nlohmann::json;

struct Family {
  const char *model_type, *architecture_class;
  bool gemma = false;
};
const std::map<std::string, Family> kFamilies{
    {"llama", {"llama", "LlamaForCausalLM"}},          {"smollm3", {"smollm3", "SmolLM3ForCausalLM"}},
    {"qwen2", {"qwen2", "Qwen2ForCausalLM"}},          {"qwen3", {"qwen3", "Qwen3ForCausalLM"}},
    {"gemma2", {"gemma2", "Gemma2ForCausalLM", true}}, {"gemma3", {"gemma3_text", "Gemma3ForCausalLM", true}}};

// The score scale of the largest Gemmas is 1/sqrt(hidden / heads) and not 1/sqrt(head_dim); GGUF has no key for it, so
// llama.cpp goes by the number of layers.
int64_t gemma_score_width(const std::string& architecture, int64_t layers, int64_t hidden, int64_t heads,
                          int64_t head_dim) {
  const bool largest = (architecture == "gemma2" && layers == 46) || (architecture == "gemma3" && layers == 62);
  return largest ? hidden / heads : head_dim;
}
constexpr int64_t kGemma3Pattern = 6;
constexpr double kGemma3LocalTheta = 10000;

int64_t head_dim_of(const GgufKeys& keys, int64_t hidden, int64_t heads) {
  if (hidden < 1 || heads < 1) throw InputError(keys.name("embedding_length") + " or head_count is not positive");
  const int64_t rotated = keys.integer("rope.dimension_count", hidden / heads);
  const int64_t head_dim = keys.integer("attention.key_length", rotated);
  if (keys.integer("attention.value_length", head_dim) != head_dim) {
    throw UnsupportedError(keys.name("attention.value_length") + " is not key_length, " + std::to_string(head_dim) +
                           "; only heads of one width are supported");
  }
  if (keys.integer("rope.dimension_count", head_dim) != head_dim) {
    throw UnsupportedError(keys.name("rope.dimension_count") + " is " + std::to_string(rotated) + " of a head of " +
                           std::to_string(head_dim) + "; only rotation of the whole head is supported");
  }
  return head_dim;
}

json scaling_from_divisors(const GgufFile& file, const GgufTensor& tensor, double theta, int64_t head_dim) {
  // a type that DecoderConfig refuses, with a name that says why
  const json unknown{{"rope_type", "unrecognised divisors in rope_freqs.weight"}};
  if (tensor.type->name != "F32" || tensor.shape != std::vector<int64_t>{head_dim / 2}) return unknown;
  std::vector<float> divisors(static_cast<size_t>(head_dim / 2));
  std::memcpy(divisors.data(), file.bytes(tensor).data(), divisors.size() * sizeof(float));
  const auto scaling = fit_llama3(divisors, theta);
  if (!scaling) return unknown;
  if (scaling->type == RopeScaling::Type::none) return nullptr;
  return {{"rope_type", "llama3"},
          {"factor", through_f32(scaling->factor)},
          {"low_freq_factor", scaling->low_freq_factor},
          {"high_freq_factor", scaling->high_freq_factor},
          {"original_max_position_embeddings", scaling->original_max_positions}};
}

json scaling_from_keys(const GgufKeys& keys) {
  // files of 2023 have scale_linear, always of type linear
  const std::string type = keys.text("rope.scaling.type", keys.has("rope.scale_linear") ? "linear" : "none");
  if (type == "none") return nullptr;
  const double factor = keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 1.0));
  json scaling{{"rope_type", type}, {"factor", factor}};  // DecoderConfig refuses the types that it does not know
  if (type != "yarn") return factor == 1 ? json(nullptr) : scaling;
  scaling["original_max_position_embeddings"] =
      keys.integer("rope.scaling.original_context_length", keys.integer("context_length"));
  if (keys.has("rope.scaling.yarn_log_multiplier")) {
    throw UnsupportedError(keys.name("rope.scaling.yarn_log_multiplier") + ": DeepSeek's variant of yarn");
  }
  if (const double more = keys.number("rope.scaling.attn_factor", 1.0); more != 1) {
    scaling["attention_factor"] = more * (0.1 * std::log(factor) + 1);  // GGUF's is a factor on top of yarn's own
  }
  for (const char* beta : {"beta_fast", "beta_slow"}) {
    const std::string key = std::string("rope.scaling.yarn_") + beta;
    if (keys.has(key)) scaling[beta] = keys.number(key);
  }
  return scaling;
}

void add_gemma(const GgufKeys& keys, const std::string& architecture, json& config) {
  const auto of = [&](const char* key) { return config[key].get<int64_t>(); };
  config["query_pre_attn_scalar"] = gemma_score_width(architecture, of("num_hidden_layers"), of("hidden_size"),
                                                      of("num_attention_heads"), of("head_dim"));
  if (keys.has("attention.scale")) {
    const double scale = keys.number("attention.scale");
    config["query_pre_attn_scalar"] = 1 / (scale * scale);
  }
  config["sliding_window"] = keys.integer("attention.sliding_window", 4096);
  if (architecture == "gemma2") {
    config["attn_logit_softcapping"] = keys.number("attn_logit_softcapping", 50.0);
    config["final_logit_softcapping"] = keys.number("final_logit_softcapping", 30.0);
  } else {
    if (keys.has("final_logit_softcapping")) config["final_logit_softcapping"] = keys.number("final_logit_softcapping");
    config["sliding_window_pattern"] = kGemma3Pattern;
    config["rope_local_base_freq"] = keys.number("rope.freq_base_swa", kGemma3LocalTheta);
  }
}

bool any_tensor(const GgufParts& parts, const std::string& stem) {
  return parts.find("blk.0." + stem) != nullptr;
}

}  // namespace

json config_from_gguf(const GgufParts& parts) {
  const GgufFile& file = parts.first();  // its metadata are those of all
  const GgufModel model = GgufModel::of(file);
  if (model.architecture == "bert") return encoder_config_from_gguf(file);
  const GgufKeys keys(file, model.architecture);
  const Family& family = kFamilies.at(model.architecture);
  const GgufTensor* embedding = parts.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    throw InputError(file.path().string() + ": token_embd.weight is missing or no matrix");
  }
  json config{{"model_type", family.model_type},
              {"architectures", {family.architecture_class}},
              {"vocab_size", embedding->shape[0]},
              {"hidden_size", keys.integer("embedding_length")},
              {"intermediate_size", keys.integer("feed_forward_length")},
              {"num_hidden_layers", keys.integer("block_count")},
              {"num_attention_heads", model.heads},
              {"num_key_value_heads", model.kv_heads},
              {"max_position_embeddings", keys.integer("context_length")},
              {"rms_norm_eps", keys.number("attention.layer_norm_rms_epsilon")},
              {"rope_theta", keys.number("rope.freq_base", family.gemma && model.architecture == "gemma3" ? 1e6 : 1e4)},
              {"tie_word_embeddings", parts.find("output.weight") == nullptr}};
  const int64_t head_dim = head_dim_of(keys, config["hidden_size"].get<int64_t>(), model.heads);
  config["head_dim"] = head_dim;
  config[family.gemma ? "hidden_activation" : "hidden_act"] = family.gemma ? "gelu_pytorch_tanh" : "silu";
  const GgufTensor* divisors = parts.find("rope_freqs.weight");
  const json scaling = divisors != nullptr ? scaling_from_divisors(*parts.file_of(divisors->name), *divisors,
                                                                   config["rope_theta"].get<double>(), head_dim)
                                           : scaling_from_keys(keys);
  if (!scaling.is_null()) config["rope_scaling"] = scaling;
  if (model.architecture != "qwen2") {
    config["attention_bias"] = any_tensor(parts, "attn_q.bias") || any_tensor(parts, "attn_output.bias");
  }
  if (model.architecture == "llama" || model.architecture == "smollm3") {
    config["mlp_bias"] = any_tensor(parts, "ffn_down.bias");
  }
  if (family.gemma) add_gemma(keys, model.architecture, config);
  for (const auto& [key, name] :
       {std::pair("bos", "bos_token_id"), std::pair("eos", "eos_token_id"), std::pair("padding", "pad_token_id")}) {
    const std::string full = "tokenizer.ggml." + std::string(key) + "_token_id";
    if (file.has(full)) config[name] = file.integer(full);
  }
  // what a dense copy is written as: the scales of blocks are f16, which keeps more of them than bf16 would. Gemma's
  // activations overflow f16.
  const bool bf16 = family.gemma || embedding->type->name == "BF16";
  config["torch_dtype"] = bf16 ? "bfloat16" : embedding->type->name == "F32" ? "float32" : "float16";
  return config;
}

namespace {

// Where llama.cpp fixes a value that config.json is free to choose, another one cannot be written.
void check_what_readers_assume(const DecoderConfig& c, const std::string& architecture) {
  const auto refuse = [&](const std::string& what) {
    throw UnsupportedError("gguf: architecture " + architecture + " has no way to say " + what + "; use --format hf");
  };
  if (c.prefix != "model." || c.head_name != "lm_head") refuse("that the text model is part of a larger one");
  if (c.norm_plus_one) {
    const double width = static_cast<double>(gemma_score_width(architecture, c.layers, c.hidden, c.heads, c.head_dim));
    if (std::abs(c.attention_scale * std::sqrt(width) - 1) > 1e-6) refuse("this query_pre_attn_scalar");
    const int64_t pattern = architecture == "gemma2" ? 2 : kGemma3Pattern;
    for (int64_t i = 0; i < c.layers; ++i) {
      if (c.layer_is_sliding[static_cast<size_t>(i)] != ((i + 1) % pattern != 0)) refuse("which layers slide");
    }
    if (architecture == "gemma3" &&
        (c.local_rope.theta != kGemma3LocalTheta || c.local_rope.scaling.type != RopeScaling::Type::none)) {
      refuse("this rope of the sliding layers");
    }
  }
  for (int64_t i = 0; i < c.layers; ++i) {
    const bool rope = architecture != "smollm3" || (i + 1) % 4 != 0;
    if (c.layer_has_rope[static_cast<size_t>(i)] != rope) refuse("which layers have no rope");
  }
  if (c.rope.scaling.mscale != 0 || c.rope.scaling.mscale_all_dim != 0) refuse("yarn's mscale");
}

void put_scaling(const RopeScaling& s, const auto& put) {
  if (s.type != RopeScaling::Type::linear && s.type != RopeScaling::Type::yarn) return;  // llama3: a tensor
  put("rope.scaling.type", std::string(s.type == RopeScaling::Type::linear ? "linear" : "yarn"));
  put("rope.scaling.factor", s.factor);
  if (s.type == RopeScaling::Type::linear) return;
  put("rope.scaling.original_context_length", static_cast<uint64_t>(s.original_max_positions));
  if (s.attention_factor) put("rope.scaling.attn_factor", *s.attention_factor / (0.1 * std::log(s.factor) + 1));
  if (s.beta_fast != 32) put("rope.scaling.yarn_beta_fast", s.beta_fast);
  if (s.beta_slow != 1) put("rope.scaling.yarn_beta_slow", s.beta_slow);
}

}  // namespace

GgufMetadata gguf_metadata_from_config(const json& config) {
  if (is_encoder(config)) return gguf_metadata_of_encoder(config);
  const GgufModel model = GgufModel::of_config(config);
  const DecoderConfig c = DecoderConfig::from_hf(config);
  check_what_readers_assume(c, model.architecture);
  GgufMetadata metadata{{"general.architecture", model.architecture}};
  const auto put = [&](const std::string& key, GgufValue value) {
    metadata.emplace_back(model.architecture + "." + key, std::move(value));
  };
  const auto put_count = [&](const std::string& key, int64_t value) { put(key, static_cast<uint64_t>(value)); };
  put_count("context_length", c.max_positions);
  put_count("embedding_length", c.hidden);
  put_count("block_count", c.layers);
  put_count("feed_forward_length", c.intermediate);
  put_count("attention.head_count", c.heads);
  put_count("attention.head_count_kv", c.kv_heads);
  put("attention.layer_norm_rms_epsilon", c.norm_eps);
  put_count("attention.key_length", c.head_dim);
  put_count("attention.value_length", c.head_dim);
  put_count("rope.dimension_count", c.head_dim);
  put("rope.freq_base", c.rope.theta);
  put_count("vocab_size", c.vocab_size);
  put_scaling(c.rope.scaling, put);
  if (c.attention_softcap != 0) put("attn_logit_softcapping", c.attention_softcap);
  if (c.logit_softcap != 0) put("final_logit_softcapping", c.logit_softcap);
  if (c.norm_plus_one && c.sliding_window != 0) put_count("attention.sliding_window", c.sliding_window);
  return metadata;
}

std::optional<std::vector<float>> gguf_rope_freqs(const json& config) {
  if (is_encoder(config)) return std::nullopt;
  const DecoderConfig c = DecoderConfig::from_hf(config);
  if (c.rope.scaling.type != RopeScaling::Type::llama3) return std::nullopt;
  return rope_divisors(c.rope.scaling, c.rope.theta, c.head_dim);
}

std::vector<std::string> gguf_warnings(const json& config) {
  if (is_encoder(config)) return {};
  const DecoderConfig c = DecoderConfig::from_hf(config);
  std::vector<std::string> warnings;
  if (!c.norm_plus_one && c.sliding_window != 0 && c.sliding_window < c.max_positions) {
    warnings.push_back("gguf: the sliding window of " + std::to_string(c.sliding_window) +
                       " tokens is not kept by llama.cpp, which looks at all of a longer text");
  }
  return warnings;
}

}  // namespace pare
