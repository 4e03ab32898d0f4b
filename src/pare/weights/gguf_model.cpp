#include "pare/weights/gguf_model.h"

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"

namespace pare {
namespace {

using nlohmann::json;
using Pair = std::pair<std::string_view, std::string_view>;

constexpr std::array kOutside{Pair{"token_embd", "model.embed_tokens"}, Pair{"output_norm", "model.norm"},
                              Pair{"output", "lm_head"}};
constexpr std::array kInBlock{
    Pair{"attn_q", "self_attn.q_proj"},      Pair{"attn_k", "self_attn.k_proj"},
    Pair{"attn_v", "self_attn.v_proj"},      Pair{"attn_output", "self_attn.o_proj"},
    Pair{"attn_q_norm", "self_attn.q_norm"}, Pair{"attn_k_norm", "self_attn.k_norm"},
    Pair{"ffn_gate", "mlp.gate_proj"},       Pair{"ffn_up", "mlp.up_proj"},
    Pair{"ffn_down", "mlp.down_proj"},       Pair{"attn_norm", "input_layernorm"},
};
// ffn_norm is the norm before the MLP; Gemma has one after attention as well, and calls things accordingly.
constexpr std::array kNorms{Pair{"ffn_norm", "post_attention_layernorm"}};
constexpr std::array kGemmaNorms{Pair{"post_attention_norm", "post_attention_layernorm"},
                                 Pair{"ffn_norm", "pre_feedforward_layernorm"},
                                 Pair{"post_ffw_norm", "post_feedforward_layernorm"}};

bool is_gemma(std::string_view architecture) {
  return architecture.starts_with("gemma");
}

// Calls each(gguf, hf) for the pairs inside a block of this architecture.
template <class Each>
void for_block_pairs(std::string_view architecture, const Each& each) {
  for (const Pair& pair : kInBlock) each(pair);
  if (is_gemma(architecture)) {
    for (const Pair& pair : kGemmaNorms) each(pair);
  } else {
    for (const Pair& pair : kNorms) each(pair);
  }
}

struct Split {
  std::string body, suffix;  // "blk.3.attn_q" and ".weight"
};
std::optional<Split> split(const std::string& name) {
  for (const char* suffix : {".weight", ".bias"}) {
    if (name.ends_with(suffix)) return Split{name.substr(0, name.size() - std::strlen(suffix)), suffix};
  }
  return std::nullopt;
}

// "<prefix>NUMBER.rest" -> {"NUMBER", "rest"}
std::optional<std::pair<std::string, std::string>> numbered(const std::string& body, std::string_view prefix) {
  if (!body.starts_with(prefix)) return std::nullopt;
  const size_t dot = body.find('.', prefix.size());
  if (dot == std::string::npos || dot == prefix.size()) return std::nullopt;
  const std::string number = body.substr(prefix.size(), dot - prefix.size());
  if (number.find_first_not_of("0123456789") != std::string::npos || number.size() > 6) return std::nullopt;
  return std::pair(number, body.substr(dot + 1));
}

constexpr std::array kArchitectures{"llama", "qwen2", "qwen3", "gemma2", "gemma3"};

void check_architecture(const std::string& architecture, const std::string& where) {
  std::string known;
  for (const char* name : kArchitectures) {
    if (architecture == name) return;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  throw UnsupportedError(where + ": architecture \"" + architecture +
                         "\" is not supported as a model; supported: " + known);
}

}  // namespace

GgufModel GgufModel::of(const GgufFile& file) {
  GgufModel model;
  model.architecture = file.text("general.architecture");
  check_architecture(model.architecture, file.path().string());
  model.heads = file.integer(model.architecture + ".attention.head_count");
  const std::string kv_key = model.architecture + ".attention.head_count_kv";
  model.kv_heads = file.has(kv_key) ? file.integer(kv_key) : model.heads;
  if (model.heads < 1 || model.heads > 65536 || model.kv_heads < 1 || model.kv_heads > model.heads) {
    throw InputError(file.path().string() + ": " + std::to_string(model.heads) + " heads and " +
                     std::to_string(model.kv_heads) + " for keys and values make no sense");
  }
  model.permuted = model.architecture == "llama";
  model.norm_plus_one = is_gemma(model.architecture);
  return model;
}

GgufModel GgufModel::of_config(const json& config) {
  GgufModel model;
  const std::string type = config.value("model_type", "");
  model.architecture = type == "mistral" ? "llama" : type == "gemma3_text" ? "gemma3" : type;
  check_architecture(model.architecture, "gguf");
  model.heads = config.at("num_attention_heads").get<int64_t>();
  model.kv_heads = config.value("num_key_value_heads", model.heads);
  model.permuted = model.architecture == "llama";
  model.norm_plus_one = is_gemma(model.architecture);
  return model;
}

std::optional<std::string> GgufModel::hf_name(const std::string& gguf_name) const {
  const auto parts = split(gguf_name);
  if (!parts) return std::nullopt;
  for (const auto& [gguf, hf] : kOutside) {
    if (parts->body == gguf) return std::string(hf) + parts->suffix;
  }
  const auto block = numbered(parts->body, "blk.");
  if (!block) return std::nullopt;
  std::optional<std::string> result;
  for_block_pairs(architecture, [&](const Pair& pair) {
    if (pair.first == block->second)
      result = "model.layers." + block->first + "." + std::string(pair.second) + parts->suffix;
  });
  return result;
}

std::optional<std::string> GgufModel::gguf_name(const std::string& hf_name) const {
  const auto parts = split(hf_name);
  if (!parts) return std::nullopt;
  for (const auto& [gguf, hf] : kOutside) {
    if (parts->body == hf) return std::string(gguf) + parts->suffix;
  }
  const auto block = numbered(parts->body, "model.layers.");
  if (!block) return std::nullopt;
  std::optional<std::string> result;
  for_block_pairs(architecture, [&](const Pair& pair) {
    if (pair.second == block->second) result = "blk." + block->first + "." + std::string(pair.first) + parts->suffix;
  });
  return result;
}

int64_t GgufModel::permuted_heads(const std::string& hf_name) const {
  if (!permuted) return 0;
  if (hf_name.find("self_attn.q_proj.") != std::string::npos) return heads;
  if (hf_name.find("self_attn.k_proj.") != std::string::npos) return kv_heads;
  return 0;
}

bool GgufModel::is_raised_norm(const std::string& hf_name) const {
  return norm_plus_one && hf_name.find("norm") != std::string::npos;
}

json config_from_gguf(const GgufFile& file) {
  const GgufModel model = GgufModel::of(file);
  const std::string prefix = model.architecture + ".";
  const auto integer = [&](const char* key) { return file.integer(prefix + key); };
  json config;
  config["model_type"] = model.architecture == "gemma3" ? "gemma3_text" : model.architecture;
  static const std::map<std::string, const char*> classes{{"llama", "LlamaForCausalLM"},
                                                          {"qwen2", "Qwen2ForCausalLM"},
                                                          {"qwen3", "Qwen3ForCausalLM"},
                                                          {"gemma2", "Gemma2ForCausalLM"},
                                                          {"gemma3", "Gemma3ForCausalLM"}};
  config["architectures"] = {classes.at(model.architecture)};
  config["hidden_size"] = integer("embedding_length");
  config["intermediate_size"] = integer("feed_forward_length");
  config["num_hidden_layers"] = integer("block_count");
  config["num_attention_heads"] = model.heads;
  config["num_key_value_heads"] = model.kv_heads;
  config["max_position_embeddings"] = integer("context_length");
  config["rms_norm_eps"] = file.number(prefix + "attention.layer_norm_rms_epsilon");
  const GgufTensor* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2)
    throw InputError(file.path().string() + ": token_embd.weight is missing or no matrix");
  config["vocab_size"] = embedding->shape[0];
  config["tie_word_embeddings"] = file.find("output.weight") == nullptr;
  config[is_gemma(model.architecture) ? "hidden_activation" : "hidden_act"] =
      is_gemma(model.architecture) ? "gelu_pytorch_tanh" : "silu";
  if (file.has(prefix + "attention.key_length")) {
    config["head_dim"] = integer("attention.key_length");
  } else if (file.has(prefix + "rope.dimension_count")) {
    config["head_dim"] = integer("rope.dimension_count");
  }
  config["rope_theta"] = file.has(prefix + "rope.freq_base") ? file.number(prefix + "rope.freq_base") : 10000.0;
  if (file.has(prefix + "rope.scaling.type") && file.text(prefix + "rope.scaling.type") != "none") {
    const std::string type = file.text(prefix + "rope.scaling.type");
    json scaling{{"rope_type", type}, {"factor", file.number(prefix + "rope.scaling.factor")}};
    const std::string original = prefix + "rope.scaling.original_context_length";
    if (file.has(original)) scaling["original_max_position_embeddings"] = file.integer(original);
    config["rope_scaling"] = scaling;
  }
  if (file.find("rope_freqs.weight") != nullptr) {
    throw UnsupportedError(file.path().string() +
                           ": its rope frequencies are a tensor (rope_freqs.weight, Llama-3.1's scaling), which Pare "
                           "does not turn back into a "
                           "config; take the Hugging Face folder of the same model");
  }
  for (const char* bias : {"attn_q", "attn_k", "attn_v"}) {
    if (file.find("blk.0." + std::string(bias) + ".bias") != nullptr && model.architecture == "llama")
      config["attention_bias"] = true;
  }
  const auto copy_number = [&](const char* key, const char* name) {
    if (file.has(prefix + key)) config[name] = file.number(prefix + key);
  };
  copy_number("attn_logit_softcapping", "attn_logit_softcapping");
  copy_number("final_logit_softcapping", "final_logit_softcapping");
  if (file.has(prefix + "attention.sliding_window")) config["sliding_window"] = integer("attention.sliding_window");
  for (const auto& [key, name] : {std::pair("bos", "bos_token_id"), std::pair("eos", "eos_token_id")}) {
    const std::string full = "tokenizer.ggml." + std::string(key) + "_token_id";
    if (file.has(full)) config[name] = file.integer(full);
  }
  config["torch_dtype"] = "float16";
  return config;
}

GgufMetadata gguf_metadata_from_config(const json& config) {
  const GgufModel model = GgufModel::of_config(config);
  const std::string prefix = model.architecture + ".";
  GgufMetadata metadata;
  const auto put = [&](const std::string& key, GgufValue value) {
    metadata.emplace_back(prefix + key, std::move(value));
  };
  const auto natural = [&](const char* name) { return config.at(name).get<uint64_t>(); };
  const uint64_t hidden = natural("hidden_size"), heads = natural("num_attention_heads");
  const uint64_t head_dim =
      config.contains("head_dim") && !config["head_dim"].is_null() ? natural("head_dim") : hidden / heads;
  json rope = json::object();  // transformers 5 keeps everything of RoPE in one place
  if (config.contains("rope_parameters") && config["rope_parameters"].is_object()) rope = config["rope_parameters"];
  if (config.contains("rope_scaling") && config["rope_scaling"].is_object()) rope = config["rope_scaling"];
  const std::string rope_type = rope.value("rope_type", rope.value("type", "default"));
  if (rope_type != "default" && rope_type != "linear" && rope_type != "yarn") {
    throw UnsupportedError("gguf: rope type \"" + rope_type + "\" cannot be written yet; use --format hf");
  }
  metadata.emplace_back("general.architecture", model.architecture);
  put("context_length", natural("max_position_embeddings"));
  put("embedding_length", hidden);
  put("block_count", natural("num_hidden_layers"));
  put("feed_forward_length", natural("intermediate_size"));
  put("attention.head_count", heads);
  put("attention.head_count_kv", static_cast<uint64_t>(model.kv_heads));
  put("attention.layer_norm_rms_epsilon", config.at("rms_norm_eps").get<double>());
  put("attention.key_length", head_dim);
  put("attention.value_length", head_dim);
  put("rope.dimension_count", head_dim);
  put("rope.freq_base",
      config.contains("rope_theta") ? config["rope_theta"].get<double>() : rope.value("rope_theta", 10000.0));
  put("vocab_size", natural("vocab_size"));
  if (rope_type != "default") {
    put("rope.scaling.type", rope_type);
    put("rope.scaling.factor", rope.at("factor").get<double>());
    if (rope.contains("original_max_position_embeddings"))
      put("rope.scaling.original_context_length", rope["original_max_position_embeddings"].get<uint64_t>());
  }
  for (const char* cap : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (config.contains(cap) && config[cap].is_number()) put(cap, config[cap].get<double>());
  }
  if (config.contains("sliding_window") && config["sliding_window"].is_number() && is_gemma(model.architecture))
    put("attention.sliding_window", natural("sliding_window"));
  return metadata;
}

std::vector<std::byte> reorder_rows(std::span<const std::byte> src, int64_t rows, int64_t heads, RowOrder order) {
  PARE_ASSERT(heads > 0 && rows % heads == 0 && (rows / heads) % 2 == 0 && src.size() % static_cast<size_t>(rows) == 0);
  const int64_t half = rows / heads / 2;
  const auto row_bytes = static_cast<int64_t>(src.size()) / rows;
  std::vector<std::byte> dst(src.size());
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t s = 0; s < 2; ++s) {
      for (int64_t i = 0; i < half; ++i) {
        const int64_t hf = head * 2 * half + s * half + i, gguf = head * 2 * half + 2 * i + s;
        const int64_t from = order == RowOrder::to_hf ? gguf : hf, to = order == RowOrder::to_hf ? hf : gguf;
        std::memcpy(dst.data() + to * row_bytes, src.data() + from * row_bytes, static_cast<size_t>(row_bytes));
      }
    }
  }
  return dst;
}

}  // namespace pare
