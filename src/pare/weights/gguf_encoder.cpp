#include "pare/weights/gguf_encoder.h"

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/weights/encoder_config.h"
#include "pare/weights/gguf_keys.h"

namespace pare {
namespace {

constexpr const char* kTokenTypes = "tokenizer.ggml.token_type_count";

}  // namespace

nlohmann::json encoder_config_from_gguf(const GgufFile& file) {
  const GgufKeys keys(file, "bert");
  const GgufTensor* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    throw InputError(file.path().string() + ": token_embd.weight is missing or no matrix");
  }
  if (keys.integer("attention.causal", 1) != 0) {
    throw UnsupportedError(keys.name("attention.causal") + " is not false: each token would see those before it only");
  }
  const int64_t heads = keys.integer("attention.head_count");
  if (keys.integer("attention.head_count_kv", heads) != heads) {
    throw UnsupportedError(keys.name("attention.head_count_kv") + " is not head_count");
  }
  nlohmann::json config{{"model_type", "bert"},
                        {"architectures", {"BertModel"}},
                        {"vocab_size", embedding->shape[0]},
                        {"hidden_size", keys.integer("embedding_length")},
                        {"intermediate_size", keys.integer("feed_forward_length")},
                        {"num_hidden_layers", keys.integer("block_count")},
                        {"num_attention_heads", heads},
                        {"max_position_embeddings", keys.integer("context_length")},
                        {"type_vocab_size", file.has(kTokenTypes) ? file.integer(kTokenTypes) : 1},
                        {"layer_norm_eps", keys.number("attention.layer_norm_epsilon")},
                        {"hidden_act", "gelu"},
                        {"position_embedding_type", "absolute"}};
  const std::string padding = "tokenizer.ggml.padding_token_id";
  if (file.has(padding)) config["pad_token_id"] = file.integer(padding);
  const bool half = embedding->type != nullptr && embedding->type->name != "F32";
  config["torch_dtype"] = half ? "float16" : "float32";
  return config;
}

GgufMetadata gguf_metadata_of_encoder(const nlohmann::json& config) {
  const EncoderConfig c = EncoderConfig::from_hf(config);
  const auto count = [](int64_t value) { return static_cast<uint64_t>(value); };
  return {{"general.architecture", std::string("bert")},
          {"bert.block_count", count(c.layers)},
          {"bert.context_length", count(c.max_positions)},
          {"bert.embedding_length", count(c.hidden)},
          {"bert.feed_forward_length", count(c.intermediate)},
          {"bert.attention.head_count", count(c.heads)},
          {"bert.attention.layer_norm_epsilon", c.norm_eps},
          {"bert.attention.causal", false},
          {kTokenTypes, count(c.token_types)}};
}

}  // namespace pare
