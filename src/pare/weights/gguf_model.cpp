#include "pare/weights/gguf_model.h"

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/weights/decoder_config.h"
#include "pare/weights/encoder_config.h"

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

// BERT: the norms come after attention and MLP, and there is no head.
constexpr std::array kEncoderOutside{
    Pair{"token_embd", "embeddings.word_embeddings"}, Pair{"position_embd", "embeddings.position_embeddings"},
    Pair{"token_types", "embeddings.token_type_embeddings"}, Pair{"token_embd_norm", "embeddings.LayerNorm"}};
constexpr std::array kEncoderInBlock{Pair{"attn_q", "attention.self.query"},
                                     Pair{"attn_k", "attention.self.key"},
                                     Pair{"attn_v", "attention.self.value"},
                                     Pair{"attn_output", "attention.output.dense"},
                                     Pair{"attn_output_norm", "attention.output.LayerNorm"},
                                     Pair{"ffn_up", "intermediate.dense"},
                                     Pair{"ffn_down", "output.dense"},
                                     Pair{"layer_output_norm", "output.LayerNorm"}};
constexpr std::string_view kEncoder = "bert";

bool has_permuted_rows(std::string_view architecture) {
  return architecture == "llama" || architecture == "smollm3";
}
bool is_gemma(std::string_view architecture) {
  return architecture.starts_with("gemma");
}

// Calls each(gguf, hf) for the pairs outside blocks and inside one of this architecture.
template <class Each>
void for_outside_pairs(std::string_view architecture, const Each& each) {
  if (architecture == kEncoder) {
    for (const Pair& pair : kEncoderOutside) each(pair);
  } else {
    for (const Pair& pair : kOutside) each(pair);
  }
}
template <class Each>
void for_block_pairs(std::string_view architecture, const Each& each) {
  if (architecture == kEncoder) {
    for (const Pair& pair : kEncoderInBlock) each(pair);
    return;
  }
  for (const Pair& pair : kInBlock) each(pair);
  if (is_gemma(architecture)) {
    for (const Pair& pair : kGemmaNorms) each(pair);
  } else {
    for (const Pair& pair : kNorms) each(pair);
  }
}

std::string hf_blocks(std::string_view architecture) {
  return architecture == kEncoder ? "encoder.layer." : "model.layers.";
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

constexpr std::array kArchitectures{"llama", "smollm3", "qwen2", "qwen3", "gemma2", "gemma3", "bert"};

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
  model.permuted = has_permuted_rows(model.architecture);
  model.norm_plus_one = is_gemma(model.architecture);
  return model;
}

GgufModel GgufModel::of_config(const json& config) {
  if (is_encoder(config)) {
    GgufModel model;
    model.architecture = kEncoder;
    model.heads = model.kv_heads = EncoderConfig::from_hf(config).heads;
    return model;
  }
  const DecoderConfig decoder = DecoderConfig::from_hf(config);
  GgufModel model;
  const std::string& type = decoder.model_type;
  model.architecture = type == "mistral" ? "llama" : type == "gemma3_text" ? "gemma3" : type;
  check_architecture(model.architecture, "gguf");
  model.heads = decoder.heads;
  model.kv_heads = decoder.kv_heads;
  model.permuted = has_permuted_rows(model.architecture);
  model.norm_plus_one = is_gemma(model.architecture);
  return model;
}

std::optional<std::string> GgufModel::hf_name(const std::string& gguf_name) const {
  const auto parts = split(gguf_name);
  if (!parts) return std::nullopt;
  std::optional<std::string> result;
  for_outside_pairs(architecture, [&](const Pair& pair) {
    if (pair.first == parts->body) result = std::string(pair.second) + parts->suffix;
  });
  const auto block = numbered(parts->body, "blk.");
  if (!block) return result;
  for_block_pairs(architecture, [&](const Pair& pair) {
    if (pair.first == block->second)
      result = hf_blocks(architecture) + block->first + "." + std::string(pair.second) + parts->suffix;
  });
  return result;
}

std::optional<std::string> GgufModel::gguf_name(const std::string& hf_name) const {
  const auto parts = split(hf_name);
  if (!parts) return std::nullopt;
  std::optional<std::string> result;
  for_outside_pairs(architecture, [&](const Pair& pair) {
    if (pair.second == parts->body) result = std::string(pair.first) + parts->suffix;
  });
  const auto block = numbered(parts->body, hf_blocks(architecture));
  if (!block) return result;
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

bool GgufModel::is_table_in_f32(const std::string& hf_name) const {
  return architecture == kEncoder &&
         (hf_name == "embeddings.position_embeddings.weight" || hf_name == "embeddings.token_type_embeddings.weight");
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
