#include "pare/weights/encoder_names.h"

#include <array>
#include <charconv>

namespace pare {
namespace {

constexpr std::array<std::pair<std::string_view, const char*>, 6> kLinears{{{"attention.self.query", "q_proj"},
                                                                            {"attention.self.key", "k_proj"},
                                                                            {"attention.self.value", "v_proj"},
                                                                            {"attention.output.dense", "o_proj"},
                                                                            {"intermediate.dense", "up_proj"},
                                                                            {"output.dense", "down_proj"}}};

}  // namespace

std::string encoder_name(const std::string& stored) {
  constexpr std::string_view kPrefix = "bert.", kGamma = ".gamma", kBeta = ".beta";
  std::string name = stored.starts_with(kPrefix) ? stored.substr(kPrefix.size()) : stored;
  if (name.ends_with(kGamma)) return name.substr(0, name.size() - kGamma.size()) + ".weight";
  if (name.ends_with(kBeta)) return name.substr(0, name.size() - kBeta.size()) + ".bias";
  return name;
}

std::optional<LinearName> encoder_linear(const ParameterInfo& parameter) {
  constexpr std::string_view kBlocks = "encoder.layer.", kWeight = ".weight";
  const std::string name = encoder_name(parameter.name);
  if (parameter.shape.size() != 2 || !name.starts_with(kBlocks) || !name.ends_with(kWeight)) return std::nullopt;
  if (name.size() < kBlocks.size() + kWeight.size()) return std::nullopt;  // "encoder.layer.weight"
  int64_t block = 0;
  const char *begin = name.data() + kBlocks.size(), *end = name.data() + name.size() - kWeight.size();
  const auto [after, error] = std::from_chars(begin, end, block);
  if (error != std::errc{} || after == end || *after != '.' || block < 0) return std::nullopt;
  const std::string_view rest(after + 1, end);
  for (const auto& [linear, kind] : kLinears) {
    if (rest == linear) return LinearName{name.substr(0, name.size() - kWeight.size()), kind, block};
  }
  return std::nullopt;
}

}  // namespace pare
