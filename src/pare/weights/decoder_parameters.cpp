#include "pare/weights/decoder_parameters.h"

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/weights/decoder_names.h"
#include "pare/weights/parameter_check.h"

namespace pare {
namespace {

class Checks {
 public:
  explicit Checks(const ModelFiles& files) : files_(files) {}

  void require(const std::string& name, const std::vector<int64_t>& shape) const {
    check_parameter(files_, files_.find(name), name, shape);
  }

  void bias(const std::string& linear, bool expected, int64_t out) const {
    if (expected) require(linear + ".bias", {out});
    if (!expected && files_.find(linear + ".bias") != nullptr) {
      throw InputError(files_.path().string() + ": tensor " + linear +
                       ".bias is there, but config.json says that this layer has no bias; one of the two is wrong");
    }
  }

 private:
  const ModelFiles& files_;
};

void find_names(const ModelFiles& files, DecoderConfig& config) {
  const auto names = decoder_names(files);
  if (!names) {
    throw InputError(files.path().string() +
                     ": tensor model.embed_tokens.weight is missing (nor is it there as "
                     "language_model.model.* or model.language_model.*)");
  }
  config.prefix = names->prefix;
  config.head_name = names->head;
}

void check_parameters(const ModelFiles& files, const DecoderConfig& c) {
  const Checks checks(files);
  checks.require(c.prefix + "embed_tokens.weight", {c.vocab_size, c.hidden});
  checks.require(c.prefix + "norm.weight", {c.hidden});
  if (!c.tied_embeddings) checks.require(c.head_name + ".weight", {c.vocab_size, c.hidden});
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  for (int64_t i = 0; i < c.layers; ++i) {
    const auto stages = c.linear_stages(i);
    const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
      checks.require(name + ".weight", {out, in});
      checks.bias(name, bias, out);
    };
    linear(stages[0][0], q, c.hidden, c.attention_bias);
    linear(stages[0][1], kv, c.hidden, c.attention_bias);
    linear(stages[0][2], kv, c.hidden, c.attention_bias);
    linear(stages[1][0], c.hidden, q, c.output_bias);
    linear(stages[2][0], c.intermediate, c.hidden, c.mlp_bias);
    linear(stages[2][1], c.intermediate, c.hidden, c.mlp_bias);
    linear(stages[3][0], c.hidden, c.intermediate, c.mlp_bias);
    for (const std::string& name : c.norm_names()) {
      checks.require(c.block_prefix(i) + name + ".weight", {name.starts_with("self_attn.") ? c.head_dim : c.hidden});
    }
  }
}

}  // namespace

DecoderConfig checked_decoder_config(const ModelFiles& files) {
  DecoderConfig config = DecoderConfig::from_hf(files.config());
  find_names(files, config);
  check_parameters(files, config);
  return config;
}

}  // namespace pare
