// A tokenizer as its file says it, before it is made ready to run: what tokenizer.json and GGUF metadata are read into,
// and what both are written from.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pare/io/gguf_writer.h"
#include "pare/text/added_tokens.h"
#include "pare/text/bpe.h"

namespace pare {

struct TokenizerParts {
  std::string where;
  std::vector<std::pair<std::string, int64_t>> pieces;
  Merges merges;
  BpeOptions options;
  bool wordpiece = false;  // BERT's: no merges, a word's longest piece first; of `options` only unk_token
  std::vector<AddedToken> added;
  // normalizer, pre_tokenizer, post_processor, decoder: as they stand in tokenizer.json; null where there is none
  std::shared_ptr<const nlohmann::json> pipeline;
};

// What tokenizer_config.json (or GGUF) says beside the tokenizer itself.
struct TokenizerConfig {
  std::map<std::string, std::string> special;  // "bos_token" -> "<s>"; also eos_, unk_, pad_, cls_, sep_, mask_token
  std::optional<std::string> chat_template;
  std::optional<bool> add_bos, add_eos;
  std::optional<int64_t> longest_text;  // model_max_length
};

TokenizerParts read_tokenizer_json(std::string_view text, const std::string& where);
std::string write_tokenizer_json(const TokenizerParts& parts);

TokenizerConfig read_tokenizer_config(std::string_view text, const std::string& where);
std::string write_tokenizer_config(const TokenizerConfig& config);
std::string write_special_tokens_map(const TokenizerConfig& config);

TokenizerParts read_gguf_tokenizer(const GgufFile& file);
TokenizerConfig read_gguf_tokenizer_config(const GgufFile& file);
GgufMetadata write_gguf_tokenizer(const TokenizerParts& parts, const TokenizerConfig& config);

}  // namespace pare
