#include "pare/pipeline/encoder_conversion.h"

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/weights/encoder_names.h"
#include "pare/weights/parameter_check.h"

namespace pare {
namespace {

constexpr const char* kPositionIds = "embeddings.position_ids";  // 0, 1, 2 ...: a buffer in old files
constexpr const char* kTokenEmbedding = "embeddings.word_embeddings.weight";

}  // namespace

EncoderConversion::EncoderConversion(const ModelFiles& source)
    : source_(source),
      config_(EncoderConfig::from_hf(source.config())),
      gguf_(GgufModel::of_config(source.config())),
      modules_(sentence_modules(source)) {
  if (modules_.pooling == SentencePooling::rank) {
    throw UnsupportedError(source.path().string() + ": a reranker (bert.pooling_type rank): its head is not converted");
  }
  for (const ParameterInfo& parameter : source.parameters()) {
    const std::string name = encoder_name(parameter.name);
    if (name == kPositionIds) continue;
    const auto linear = encoder_linear(parameter);
    const bool beyond = linear && linear->block >= config_.layers;
    if (!gguf_.gguf_name(name) || beyond) {
      left_out_.push_back(parameter.name);
    } else if (!by_name_.emplace(name, &parameter).second) {
      throw InputError(source.path().string() + ": " + name + " is there twice, as " + by_name_[name]->name + " and " +
                       parameter.name);
    }
  }
  check();
}

void EncoderConversion::check() const {
  const auto require = [&](const std::string& name, const std::vector<int64_t>& shape) {
    const auto found = by_name_.find(name);
    check_parameter(source_, found == by_name_.end() ? nullptr : found->second, name, shape);
  };
  const auto both = [&](const std::string& name, const std::vector<int64_t>& shape) {
    require(name + ".weight", shape);
    require(name + ".bias", {shape[0]});
  };
  const int64_t hidden = config_.hidden, wide = config_.intermediate;
  require(kTokenEmbedding, {config_.vocab_size, hidden});
  require("embeddings.position_embeddings.weight", {config_.max_positions, hidden});
  require("embeddings.token_type_embeddings.weight", {config_.token_types, hidden});
  both("embeddings.LayerNorm", {hidden});
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string block = "encoder.layer." + std::to_string(i) + ".";
    for (const char* name : {"query", "key", "value"}) both(block + "attention.self." + name, {hidden, hidden});
    both(block + "attention.output.dense", {hidden, hidden});
    both(block + "attention.output.LayerNorm", {hidden});
    both(block + "intermediate.dense", {wide, hidden});
    both(block + "output.dense", {hidden, wide});
    both(block + "output.LayerNorm", {hidden});
  }
}

std::optional<std::string> EncoderConversion::name_of(const std::string& stored) const {
  std::string name = encoder_name(stored);
  const auto found = by_name_.find(name);
  return found == by_name_.end() || found->second->name != stored ? std::nullopt : std::optional(std::move(name));
}

std::optional<MixPlace> EncoderConversion::mix_place(const ParameterInfo& parameter) const {
  MixPlace place;
  place.layers = config_.layers;
  place.tied = true;  // there is no head: llama.cpp's mixes then take the embedding for one
  if (encoder_name(parameter.name) == kTokenEmbedding) {
    place.kind = "embed";
    return place;
  }
  const auto linear = encoder_linear(parameter);
  if (!linear) return std::nullopt;
  place.kind = linear->kind;
  place.layer = linear->block;
  return place;
}

std::vector<std::string> EncoderConversion::notes() const {
  std::vector<std::string> notes;
  if (!left_out_.empty()) {
    notes.push_back(std::to_string(left_out_.size()) + " tensors behind the last block are left out (" +
                    left_out_.front() + (left_out_.size() > 1 ? " ...)" : ")") +
                    (leaving_out_loses() ? "." : ": the text's vector is made without them."));
  }
  if (!modules_.pooling) {
    notes.push_back(
        "The model does not say how its tokens become one vector (no modules.json with a pooling): give "
        "llama-embedding "
        "--pooling mean or cls, as the model was trained.");
  }
  if (modules_.longest_text && *modules_.longest_text < config_.max_positions) {
    notes.push_back("sentence-transformers cuts texts off after " + std::to_string(*modules_.longest_text) +
                    " tokens, as the model was trained; llama.cpp takes up to " +
                    std::to_string(config_.max_positions) + ", so vectors of longer texts differ.");
  }
  if (modules_.put_before && !modules_.put_before->empty()) {
    notes.push_back("sentence-transformers puts \"" + *modules_.put_before +
                    "\" before every text; with llama.cpp that is yours to do.");
  }
  return notes;
}

}  // namespace pare
