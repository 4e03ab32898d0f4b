#include "pare/text/gguf_pre_tokenizers.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "pare/base/error.h"
#include "pare/text/pre_tokenizer.h"

namespace pare {
namespace {

using Json = nlohmann::json;

constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen35Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4oPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// What each cuts with, one pattern after the other.
struct Known {
  GgufPreTokenizer pre;
  std::vector<const char*> patterns;  // none: ByteLevel's own
  bool digits = false;                // single digits first
};

const std::vector<Known>& known_pre_tokenizers() {
  // The first of several with the same pipeline is the one that is written.
  static const std::vector<Known> known = {
      {{"gpt-2", false, false, false}, {}},
      {{"phi-2", false, false, false}, {}},
      {{"olmo", true, false, false}, {}},
      {{"smollm", false, false, false}, {}, true},
      {{"starcoder", false, false, false}, {}, true},
      {{"refact", false, false, false}, {}, true},
      {{"llama-bpe", false, true, true}, {kLlama3Pattern}},
      {{"llama-v3", false, true, true}, {kLlama3Pattern}},
      {{"llama3", false, true, true}, {kLlama3Pattern}},
      {{"dbrx", false, false, false}, {kLlama3Pattern}},
      {{"smaug-bpe", false, false, false}, {kLlama3Pattern}},
      {{"qwen2", true, false, false}, {kQwen2Pattern}},
      {{"deepseek-r1-qwen", true, false, false}, {kQwen2Pattern}},
      {{"qwen35", true, false, false}, {kQwen35Pattern}},
      {{"tekken", false, true, true}, {kTekkenPattern}},
      {{"gpt-4o", false, false, false}, {kGpt4oPattern}},
      // what llama.cpp does where a file does not say
      {{"default", false, false, false},
       {R"([\p{P}\$\+<=>\^~\|]+)", R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))",
        R"(\p{N}+)", R"([0-9][0-9][0-9])"}},
  };
  return known;
}

const Known& find_known(std::string_view name, const std::string& where) {
  std::string names;
  for (const Known& known : known_pre_tokenizers()) {
    if (name == known.pre.name) return known;
    names += std::string(names.empty() ? "" : ", ") + known.pre.name;
  }
  throw UnsupportedError(where + ": tokenizer.ggml.pre is \"" + std::string(name) +
                         "\", which Pare does not know; known: " + names +
                         ". Use the model's Hugging Face folder, whose tokenizer.json says what to do.");
}

// Steps of a pre-tokenizer without what does not change the words.
void flatten(const Json& part, std::vector<Json>& steps) {
  if (!part.is_object()) return;
  const std::string type = part.value("type", "");
  if (type == "Sequence" && part.contains("pretokenizers") && part["pretokenizers"].is_array()) {
    for (const Json& step : part["pretokenizers"]) flatten(step, steps);
    return;
  }
  Json step = part;
  if (type == "ByteLevel") {
    step.erase("trim_offsets");
    if (!step.contains("use_regex")) step["use_regex"] = true;
  }
  if (type == "Split" && step.value("behavior", "") == "Removed" && step.value("invert", false)) {
    // Older exports: what does not match is removed. The patterns that have a name leave nothing unmatched.
    step["behavior"] = "Isolated";
    step["invert"] = false;
  }
  steps.push_back(std::move(step));
}

bool is_nfc(const Json& normalizer) {
  if (!normalizer.is_object()) return false;
  if (normalizer.value("type", "") == "NFC") return true;
  return normalizer.value("type", "") == "Sequence" && normalizer.contains("normalizers") &&
         normalizer["normalizers"].size() == 1 && is_nfc(normalizer["normalizers"][0]);
}

}  // namespace

GgufPreTokenizer find_gguf_pre_tokenizer(std::string_view name, const std::string& where) {
  return find_known(name, where).pre;
}

Json pre_tokenizer_json(const GgufPreTokenizer& pre, bool add_prefix_space) {
  const Known& known = find_known(pre.name, "");
  Json steps = Json::array();
  if (known.digits) steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  for (const char* pattern : known.patterns) {
    steps.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", add_prefix_space},
                   {"trim_offsets", true},
                   {"use_regex", known.patterns.empty()}});
  if (steps.size() == 1) return steps[0];
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

std::optional<GgufPreTokenizer> name_gguf_pre_tokenizer(const Json& normalizer, const Json& pre_tokenizer,
                                                        bool ignore_merges) {
  if (!normalizer.is_null() && !is_nfc(normalizer)) return std::nullopt;
  std::vector<Json> wanted;
  flatten(pre_tokenizer, wanted);
  for (const Known& known : known_pre_tokenizers()) {
    std::vector<Json> steps;
    flatten(pre_tokenizer_json(known.pre, false), steps);
    if (steps == wanted && known.pre.nfc == !normalizer.is_null() && known.pre.ignore_merges == ignore_merges) {
      return known.pre;
    }
  }
  return std::nullopt;
}

}  // namespace pare
