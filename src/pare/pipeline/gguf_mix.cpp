#include "pare/pipeline/gguf_mix.h"

#include <algorithm>
#include <map>

#include "pare/base/error.h"
#include "pare/base/units.h"
#include "pare/weights/encode/encode_rows.h"

namespace pare {
namespace {

// The type of most tensors, where that is not the name. IQ2_S is a type as well, and as a mix none of it.
const std::map<std::string, std::string>& mixes() {
  static const std::map<std::string, std::string> names{{"Q2_K_S", "Q2_K"}, {"Q3_K_S", "Q3_K"},  {"Q3_K_M", "Q3_K"},
                                                        {"Q3_K_L", "Q3_K"}, {"Q4_K_S", "Q4_K"},  {"Q4_K_M", "Q4_K"},
                                                        {"Q5_K_S", "Q5_K"}, {"Q5_K_M", "Q5_K"},  {"IQ2_S", "IQ2_XS"},
                                                        {"IQ2_M", "IQ2_S"}, {"IQ3_XS", "IQ3_S"}, {"IQ3_M", "IQ3_S"}};
  return names;
}

const std::vector<std::string>& encodable() {
  static const std::vector<std::string> names{
      "Q2_0",   "Q2_K",  "Q3_K",    "Q4_0",  "Q4_1",   "Q4_K",    "Q5_0",  "Q5_1",  "Q5_K",  "Q6_K",  "Q8_0", "IQ4_NL",
      "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "MXFP4", "TQ1_0", "TQ2_0"};
  return names;
}

// The first and the last eighth of the layers, and every third between.
bool more_bits(const MixPlace& place) {
  const int64_t eighth = place.layers / 8;
  return place.layer < eighth || place.layer >= 7 * place.layers / 8 || (place.layer - eighth) % 3 == 2;
}

bool is_one_of(const std::string& mix, std::initializer_list<const char*> names) {
  return std::find(names.begin(), names.end(), mix) != names.end();
}

// Exceptions of the mixes of 1 and 2 bits.
std::string special_lattice(const std::string& mix, const MixPlace& place) {
  const bool large = is_one_of(mix, {"IQ2_S", "IQ2_M"});
  if (place.kind == "v_proj") return place.heads_per_kv >= 4 ? "Q4_K" : large ? "IQ3_S" : "Q2_K";
  if (place.kind == "down_proj" && place.layer < place.layers / 8) return large ? "IQ3_S" : "Q2_K";
  if (place.kind == "o_proj") {
    if (large) return "IQ3_S";
    if (is_one_of(mix, {"IQ1_S", "IQ1_M"})) return "IQ2_XXS";
  }
  return "";
}

std::string special_table(const std::string& mix, const MixPlace& place, bool lattice) {
  if (place.kind == "head" || place.tied) return lattice || mix == "IQ3_XXS" ? "Q5_K" : mix == "Q8_0" ? "" : "Q6_K";
  if (is_one_of(mix, {"IQ2_S", "IQ2_M", "IQ3_XXS"})) return "IQ3_S";
  if (lattice) return "Q2_K";
  return is_one_of(mix, {"TQ1_0", "TQ2_0", "Q2_0"}) ? "Q4_K" : "";
}

std::string special(const std::string& mix, const MixPlace& place) {
  const bool lattice = is_one_of(mix, {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"});
  if (place.kind == "head" || place.kind == "embed") return special_table(mix, place, lattice);
  if (lattice) return special_lattice(mix, place);
  const bool grouped = place.heads_per_kv >= 4;
  const int64_t eighth = place.layers / 8;
  if (place.kind == "v_proj") {
    if (mix == "Q2_K") return grouped ? "Q4_K" : "Q3_K";
    if (is_one_of(mix, {"Q2_K_S", "IQ3_XXS", "IQ3_XS", "IQ3_S"}) && grouped) return "Q4_K";
    if (mix == "IQ3_M") return "Q4_K";
    if (mix == "Q3_K_M") return place.layer < 2 ? "Q5_K" : "Q4_K";
    if (mix == "Q3_K_L") return "Q5_K";
    if (is_one_of(mix, {"Q4_K_M", "Q5_K_M"}) && more_bits(place)) return "Q6_K";
    if (mix == "Q4_K_S" && place.layer < 4) return "Q5_K";
    if (is_one_of(mix, {"IQ4_NL", "IQ4_XS"}) && grouped) return "Q5_K";
  }
  if (place.kind == "q_proj" || place.kind == "k_proj") {
    if (mix == "IQ3_XS") return "IQ3_XXS";
    if (mix == "IQ3_XXS") return "IQ2_S";
  }
  if (place.kind == "gate_proj" || place.kind == "up_proj") {
    if (mix == "IQ3_XS" && place.layer >= eighth && place.layer < 7 * place.layers / 8) return "IQ3_XXS";
  }
  if (place.kind == "down_proj") {
    if (mix == "Q2_K") return "Q3_K";
    if (is_one_of(mix, {"Q2_K_S", "IQ3_M"}) && place.layer < eighth) return "Q4_K";
    if (mix == "Q3_K_M") return place.layer < place.layers / 16 ? "Q5_K" : "Q4_K";
    if (mix == "Q3_K_L") return "Q5_K";
    if (is_one_of(mix, {"Q4_K_M", "Q5_K_M"}) && more_bits(place)) return "Q6_K";
    if (mix == "Q4_K_S" && place.layer < eighth) return "Q5_K";
  }
  if (place.kind == "o_proj") {
    if (mix == "Q2_K") return "Q3_K";
    if (mix == "IQ3_XXS") return "IQ3_S";
    if (is_one_of(mix, {"Q3_K_M", "IQ3_M"})) return "Q4_K";
    if (mix == "Q3_K_L") return "Q5_K";
  }
  return "";
}

}  // namespace

std::vector<std::string> mix_names() {
  std::vector<std::string> names = encodable();
  for (const auto& [name, type] : mixes()) {
    if (is_mix(name)) names.push_back(name);
  }
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

bool is_mix(const std::string& name) {
  return mixes().count(name) > 0 && ggml_type_named(name) == nullptr;
}

const GgmlType& type_in_mix(const std::string& name, const MixPlace& place) {
  const std::string exception = special(name, place);
  const auto mix = mixes().find(name);
  const std::string type = !exception.empty() ? exception : mix != mixes().end() ? mix->second : name;
  const GgmlType* found = ggml_type_named(type);
  PARE_ASSERT(found != nullptr && can_encode_rows(*found));
  return *found;
}

}  // namespace pare
