#include "pare/pipeline/model_linears.h"

#include "pare/base/error.h"
#include "pare/weights/decoder_config.h"

namespace pare {

ModelLinears::ModelLinears(const ModelFiles& files) {
  const DecoderConfig config = DecoderConfig::from_hf(files.config());
  layers_ = config.layers;
  place_.layers = config.layers;
  place_.heads_per_kv = config.kv_heads > 0 ? config.heads / config.kv_heads : 1;
  const auto names = decoder_names(files);
  if (!names) throw InputError(files.path().string() + ": tensor model.embed_tokens.weight is missing");
  names_ = *names;
  place_.tied = files.find(names_.head + ".weight") == nullptr;
}

std::optional<LinearName> ModelLinears::find(const ParameterInfo& parameter) const {
  auto name = linear_name(parameter, names_);
  return name && name->block < layers_ ? name : std::nullopt;
}

bool ModelLinears::beyond(const ParameterInfo& parameter) const {
  const auto name = linear_name(parameter, names_);
  return name && name->block >= layers_;
}

std::string ModelLinears::table_kind(const ParameterInfo& parameter) const {
  if (parameter.name == names_.prefix + "embed_tokens.weight") return "embed";
  return parameter.name == names_.head + ".weight" ? "head" : "";
}

MixPlace ModelLinears::place(const std::string& kind, int64_t layer) const {
  MixPlace place = place_;
  place.kind = kind;
  place.layer = layer;
  return place;
}

}  // namespace pare
