#include "pare/weights/decoder_names.h"

#include <array>
#include <charconv>
#include <string_view>

namespace pare {

std::optional<DecoderNames> decoder_names(const ModelFiles& files) {
  static const std::array<DecoderNames, 3> known{DecoderNames{"model.", "lm_head"},
                                                 DecoderNames{"language_model.model.", "language_model.lm_head"},
                                                 DecoderNames{"model.language_model.", "lm_head"}};
  for (const DecoderNames& names : known) {
    if (files.find(names.prefix + "embed_tokens.weight") != nullptr) return names;
  }
  return std::nullopt;
}

std::optional<LinearName> linear_name(const ParameterInfo& parameter, const DecoderNames& names) {
  constexpr std::string_view kSuffix = ".weight";
  const std::string prefix = names.prefix + "layers.";
  const std::string& name = parameter.name;
  if (parameter.shape.size() != 2 || !name.starts_with(prefix) || !name.ends_with("_proj.weight")) return std::nullopt;
  int64_t block = 0;
  const char* end = name.data() + name.size();
  const auto [after, error] = std::from_chars(name.data() + prefix.size(), end, block);
  if (error != std::errc{} || after == end || *after != '.' || block < 0) return std::nullopt;
  const std::string layer = name.substr(0, name.size() - kSuffix.size());
  return LinearName{layer, layer.substr(layer.rfind('.') + 1), block};
}

}  // namespace pare
