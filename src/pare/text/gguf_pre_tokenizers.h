// The names that `tokenizer.ggml.pre` may have, and the pipeline of tokenizer.json that each stands for.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace pare {

struct GgufPreTokenizer {
  const char* name;
  bool nfc;            // Unicode normalization before anything else
  bool ignore_merges;  // a word that is a piece is taken whole
  bool add_bos;        // where tokenizer.ggml.add_bos_token does not say
};

// UnsupportedError naming the known ones.
GgufPreTokenizer find_gguf_pre_tokenizer(std::string_view name, const std::string& where);
nlohmann::json pre_tokenizer_json(const GgufPreTokenizer& pre, bool add_prefix_space);
// The name whose pipeline gives the same words; nothing when GGUF has no name for it.
std::optional<GgufPreTokenizer> name_gguf_pre_tokenizer(const nlohmann::json& normalizer,
                                                        const nlohmann::json& pre_tokenizer, bool ignore_merges);

}  // namespace pare
