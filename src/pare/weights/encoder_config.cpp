#include "pare/weights/encoder_config.h"

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/weights/config_fields.h"

namespace pare {
namespace {

constexpr const char* kModelType = "bert";

// GELU by the error function and by tanh are one to the readers of GGUF, which compute the latter.
bool is_gelu(const std::string& name) {
  return name == "gelu" || name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast" ||
         name == "gelu_python";
}

}  // namespace

bool is_encoder(const nlohmann::json& config) {
  const auto type = config.find("model_type");
  return type != config.end() && *type == kModelType;
}

EncoderConfig EncoderConfig::from_hf(const nlohmann::json& config) {
  const ConfigFields fields(config, "config.json");
  const auto refuse = [&](const std::string& what) {
    throw UnsupportedError(fields.where() + ": " + what + " is not supported in an encoder");
  };
  const std::string type = fields.text("model_type").value_or("");
  if (type != kModelType) refuse("model_type \"" + type + "\"");
  const std::string positions = fields.text("position_embedding_type").value_or("absolute");
  if (positions != "absolute") refuse("position_embedding_type \"" + positions + "\"");
  const std::string activation = fields.text("hidden_act").value_or("gelu");
  if (!is_gelu(activation)) refuse("hidden_act \"" + activation + "\"");
  for (const char* key : {"is_decoder", "add_cross_attention"}) {
    if (fields.flag(key, false)) refuse(std::string(key));
  }
  EncoderConfig c;
  c.vocab_size = fields.integer("vocab_size", 30522, 1, kMaxVocab);
  c.hidden = fields.integer("hidden_size", 768, 1, kMaxWidth);
  c.intermediate = fields.integer("intermediate_size", 3072, 1, kMaxWidth);
  c.layers = fields.integer("num_hidden_layers", 12, 1, kMaxLayers);
  c.heads = fields.integer("num_attention_heads", 12, 1, kMaxHeads);
  if (c.hidden % c.heads != 0) {
    throw InputError(fields.where() + ": hidden_size " + std::to_string(c.hidden) +
                     " is not a multiple of num_attention_heads " + std::to_string(c.heads));
  }
  c.max_positions = fields.integer("max_position_embeddings", 512, 1, kMaxPositions);
  c.token_types = fields.integer("type_vocab_size", 2, 1, kMaxVocab);
  c.norm_eps = fields.positive("layer_norm_eps", 1e-12);
  return c;
}

}  // namespace pare
