#include "pare/pipeline/gguf_mix.h"

#include <algorithm>
#include <map>

#include "pare/base/error.h"
#include "pare/base/units.h"
#include "pare/weights/encode/encode_rows.h"

namespace pare {
namespace {

// The type of most tensors of a mix.
const std::map<std::string, std::string>& mixes() {
  static const std::map<std::string, std::string> names{{"Q2_K_S", "Q2_K"}, {"Q3_K_S", "Q3_K"}, {"Q3_K_M", "Q3_K"},
                                                        {"Q3_K_L", "Q3_K"}, {"Q4_K_S", "Q4_K"}, {"Q4_K_M", "Q4_K"},
                                                        {"Q5_K_S", "Q5_K"}, {"Q5_K_M", "Q5_K"}};
  return names;
}

const std::vector<std::string>& encodable() {
  static const std::vector<std::string> names{"Q2_K", "Q3_K", "Q4_0",   "Q4_1",   "Q4_K",  "Q5_0",  "Q5_1", "Q5_K",
                                              "Q6_K", "Q8_0", "IQ4_NL", "IQ4_XS", "MXFP4", "TQ1_0", "TQ2_0"};
  return names;
}

// The first and the last eighth of the layers, and every third between.
bool more_bits(const MixPlace& place) {
  const int64_t eighth = place.layers / 8;
  return place.layer < eighth || place.layer >= 7 * place.layers / 8 || (place.layer - eighth) % 3 == 2;
}

std::string special(const std::string& mix, const MixPlace& place) {
  const bool grouped = place.heads_per_kv >= 4;
  if (place.kind == "v_proj") {
    if (mix == "Q2_K") return grouped ? "Q4_K" : "Q3_K";
    if (mix == "Q2_K_S" && grouped) return "Q4_K";
    if (mix == "Q3_K_M") return place.layer < 2 ? "Q5_K" : "Q4_K";
    if (mix == "Q3_K_L") return "Q5_K";
    if ((mix == "Q4_K_M" || mix == "Q5_K_M") && more_bits(place)) return "Q6_K";
    if (mix == "Q4_K_S" && place.layer < 4) return "Q5_K";
    if ((mix == "IQ4_NL" || mix == "IQ4_XS") && grouped) return "Q5_K";
  }
  if (place.kind == "down_proj") {
    if (mix == "Q2_K") return "Q3_K";
    if (mix == "Q2_K_S" && place.layer < place.layers / 8) return "Q4_K";
    if (mix == "Q3_K_M") {
      if (place.layer < place.layers / 16) return "Q5_K";
      return more_bits(place) ? "Q4_K" : "Q3_K";
    }
    if (mix == "Q3_K_L") return "Q5_K";
    if ((mix == "Q4_K_M" || mix == "Q5_K_M") && more_bits(place)) return "Q6_K";
    if (mix == "Q4_K_S" && place.layer < place.layers / 8) return "Q5_K";
  }
  if (place.kind == "o_proj") {
    if (mix == "Q2_K") return "Q3_K";
    if (mix == "Q3_K_M") return "Q4_K";
    if (mix == "Q3_K_L") return "Q5_K";
  }
  if (place.kind == "head" || (place.kind == "embed" && place.tied)) return mix == "Q8_0" ? "" : "Q6_K";
  if (place.kind == "embed" && mix.starts_with("TQ")) return "Q4_K";
  return "";
}

}  // namespace

std::vector<std::string> mix_names() {
  std::vector<std::string> names = encodable();
  for (const auto& [name, type] : mixes()) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

void require_mix(const std::string& name, const std::string& where) {
  const std::vector<std::string> names = mix_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  std::string all;
  for (const std::string& one : names) all += (all.empty() ? "" : ", ") + one;
  const std::string near = nearest_word(name, names);
  throw UsageError(where + ": " + (name.empty() ? std::string("an empty name") : name) +
                   " is no type that Pare writes" +
                   (near.empty() ? ". Known: " : "; did you mean " + near + "? Known: ") + all);
}

const GgmlType& type_in_mix(const std::string& name, const MixPlace& place) {
  const std::string exception = special(name, place);
  const auto mix = mixes().find(name);
  const std::string type = !exception.empty() ? exception : mix != mixes().end() ? mix->second : name;
  const GgmlType* found = ggml_type_named(type);
  PARE_ASSERT(found != nullptr && can_encode_rows(*found));
  return *found;
}

const GgmlType& fitting_type(const GgmlType& wanted, int64_t cols, const std::string& tensor) {
  if (cols % wanted.block_elements == 0) return wanted;
  // The least error on normal numbers among types of 32 with at most a tenth more bits; for 3 bits and less the
  // smallest.
  static const std::map<std::string_view, const char*> instead{{"Q5_K", "Q5_1"}, {"Q6_K", "Q8_0"}};
  const auto named = instead.find(wanted.name);
  const GgmlType& fallback = *ggml_type_named(named == instead.end() ? "IQ4_NL" : named->second);
  if (cols % fallback.block_elements != 0) {
    throw UsageError(tensor + ": its rows of " + std::to_string(cols) +
                     " are no multiple of 32, which GGUF's blocks hold. Leave it out (layers: method: none)");
  }
  return fallback;
}

}  // namespace pare
