// Tokenizers in GGUF metadata, both ways.
//
//   tokenizer.ggml.model  "gpt2": byte-level BPE, merges written out, words cut as tokenizer.ggml.pre says
//                         "llama": SentencePiece BPE. No merges: a pair may be joined where the result is a token, the
//                         one of highest score first. Written as merges that is each split of each token, in order of
//                         score (the longer left part first, as transformers' converter has it).
//                         "bert": WordPiece, see gguf_wordpiece.h

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/text/gguf_pre_tokenizers.h"
#include "pare/text/gguf_tokens.h"
#include "pare/text/gguf_wordpiece.h"
#include "pare/text/tokenizer_parts.h"
#include "pare/text/unicode.h"

namespace pare {
namespace {

using Json = nlohmann::json;
using enum GgufTokens::Type;
constexpr const char* kSpecialKeys[][2] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                                           {"eos_token", "tokenizer.ggml.eos_token_id"},
                                           {"unk_token", "tokenizer.ggml.unknown_token_id"},
                                           {"pad_token", "tokenizer.ggml.padding_token_id"}};

struct ScoredMerge {
  double score;
  size_t left_length, right_length;  // characters
  int64_t left, right;               // ids
};

// All splits of all tokens that may be the result of a merge.
Merges merges_by_score(const std::vector<std::pair<std::string, int64_t>>& pieces, const std::vector<double>& scores,
                       const std::vector<int64_t>& types) {
  std::unordered_map<std::string_view, int64_t> ids;
  ids.reserve(pieces.size());
  for (const auto& [piece, id] : pieces) ids.emplace(piece, id);
  std::vector<ScoredMerge> found;
  std::vector<size_t> starts;
  for (const auto& [piece, id] : pieces) {
    const int64_t type = types[static_cast<size_t>(id)];
    if (type != normal && type != user_defined) continue;
    starts.clear();
    for (size_t pos = 0; pos < piece.size(); pos += utf8_length(static_cast<unsigned char>(piece[pos]))) {
      starts.push_back(pos);
    }
    for (size_t i = 1; i < starts.size(); i++) {
      const auto left = ids.find(std::string_view(piece).substr(0, starts[i]));
      const auto right = ids.find(std::string_view(piece).substr(starts[i]));
      if (left == ids.end() || right == ids.end()) continue;
      found.push_back({scores[static_cast<size_t>(id)], i, starts.size() - i, left->second, right->second});
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const ScoredMerge& a, const ScoredMerge& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.left_length != b.left_length) return a.left_length > b.left_length;
    return a.right_length > b.right_length;
  });
  Merges merges;
  merges.reserve(found.size());
  std::unordered_map<int64_t, const std::string*> by_id;
  for (const auto& [piece, id] : pieces) by_id.emplace(id, &piece);
  for (const ScoredMerge& merge : found) merges.emplace_back(*by_id.at(merge.left), *by_id.at(merge.right));
  return merges;
}

Json template_json(const GgufTokens& tokens, std::optional<int64_t> bos, std::optional<int64_t> eos) {
  if (!bos && !eos) return nullptr;
  Json single = Json::array(), special = Json::object();
  const auto add = [&](std::optional<int64_t> id) {
    if (!id) return;
    const std::string& text = tokens.text[static_cast<size_t>(*id)];
    single.push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    special[text] = {{"id", text}, {"ids", {*id}}, {"tokens", {text}}};
  };
  add(bos);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(eos);
  Json pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
}

Json replace_json(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

void read_byte_level(const GgufFile& file, const GgufPreTokenizer& pre, TokenizerParts& parts, Json& pipeline) {
  const std::string where = gguf_place(file, "tokenizer.ggml.merges");
  for (const std::string& merge : file.texts("tokenizer.ggml.merges")) {
    const size_t space = merge.find(' ');
    if (space == std::string::npos || merge.find(' ', space + 1) != std::string::npos) {
      throw InputError(where + ": merge " + std::to_string(parts.merges.size()) +
                       ": expected two pieces with a space between them, found \"" + merge + "\"");
    }
    parts.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  parts.options.ignore_merges = pre.ignore_merges;
  if (pre.nfc) pipeline["normalizer"] = {{"type", "NFC"}};
  pipeline["pre_tokenizer"] = pre_tokenizer_json(pre, gguf_flag(file, "tokenizer.ggml.add_space_prefix", false));
  pipeline["decoder"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
}

void read_sentencepiece(const GgufFile& file, const GgufTokens& tokens, TokenizerParts& parts, Json& pipeline) {
  const auto scores = gguf_numbers(file, "tokenizer.ggml.scores");
  if (scores.size() != tokens.text.size()) {
    throw InputError(gguf_place(file, "tokenizer.ggml.scores") + ": " + std::to_string(scores.size()) + " scores for " +
                     std::to_string(tokens.text.size()) + " tokens");
  }
  for (size_t i = 0; i < scores.size(); i++) {
    if (scores[i] != scores[i]) {
      throw InputError(gguf_place(file, "tokenizer.ggml.scores") + ": the score of token " + std::to_string(i) +
                       " is NaN");
    }
  }
  parts.merges = merges_by_score(parts.pieces, scores, tokens.types);
  parts.options.byte_fallback = parts.options.fuse_unk = true;
  const auto unk = gguf_token_id(file, "tokenizer.ggml.unknown_token_id", tokens.text.size());
  parts.options.unk_token = tokens.text[static_cast<size_t>(unk.value_or(0))];
  const bool prefix = gguf_flag(file, "tokenizer.ggml.add_space_prefix", true);
  pipeline["normalizer"] = replace_json(" ", GgufTokens::kWordMark);
  Json decoders = {replace_json(GgufTokens::kWordMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (prefix) {
    pipeline["normalizer"] = {
        {"type", "Sequence"},
        {"normalizers", {{{"type", "Prepend"}, {"prepend", GgufTokens::kWordMark}}, pipeline["normalizer"]}}};
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  pipeline["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
}

}  // namespace

TokenizerParts read_gguf_tokenizer(const GgufFile& file) {
  TokenizerParts parts;
  parts.where = file.path().string();
  const std::string model = file.text("tokenizer.ggml.model");
  if (model == "bert") return read_gguf_wordpiece(file);
  if (model != "gpt2" && model != "llama") {
    throw UnsupportedError(gguf_place(file, "tokenizer.ggml.model") + ": \"" + model +
                           "\" is not supported; supported: gpt2 (byte-level BPE), llama (SentencePiece BPE), bert "
                           "(WordPiece)");
  }
  const GgufTokens tokens = GgufTokens::of(file);
  parts.pieces.reserve(tokens.text.size());
  for (size_t i = 0; i < tokens.text.size(); i++) {
    const int64_t type = tokens.types[i];
    const auto id = static_cast<int64_t>(i);
    parts.pieces.emplace_back(tokens.text[i], id);
    if (type == control || type == user_defined || type == unknown) {
      parts.added.push_back(
          {.id = id, .content = tokens.text[i], .normalized = false, .special = type != user_defined});
    }
  }
  Json pipeline = {
      {"normalizer", nullptr}, {"pre_tokenizer", nullptr}, {"post_processor", nullptr}, {"decoder", nullptr}};
  bool add_bos = true;
  if (model == "gpt2") {
    if (!file.has("tokenizer.ggml.pre")) {
      log_line(Level::warning, parts.where +
                                   ": tokenizer.ggml.pre is missing; words are cut as llama.cpp does it then, "
                                   "which may differ from the model's training");
    }
    const auto pre = find_gguf_pre_tokenizer(
        file.has("tokenizer.ggml.pre") ? file.text("tokenizer.ggml.pre") : "default", parts.where);
    read_byte_level(file, pre, parts, pipeline);
    add_bos = pre.add_bos;
  } else {
    read_sentencepiece(file, tokens, parts, pipeline);
  }
  std::optional<int64_t> bos, eos;
  if (gguf_flag(file, "tokenizer.ggml.add_bos_token", add_bos)) {
    bos = gguf_token_id(file, "tokenizer.ggml.bos_token_id", tokens.text.size());
  }
  if (gguf_flag(file, "tokenizer.ggml.add_eos_token", false)) {
    eos = gguf_token_id(file, "tokenizer.ggml.eos_token_id", tokens.text.size());
  }
  pipeline["post_processor"] = template_json(tokens, bos, eos);
  parts.pipeline = std::make_shared<const Json>(std::move(pipeline));
  return parts;
}

TokenizerConfig read_gguf_tokenizer_config(const GgufFile& file) {
  TokenizerConfig config;
  const std::string context =
      (file.has("general.architecture") ? file.text("general.architecture") : "") + ".context_length";
  if (file.has(context)) config.longest_text = file.integer(context);
  if (file.text("tokenizer.ggml.model") == "bert") {
    config.special = gguf_wordpiece_specials(file);
    return config;
  }
  const auto tokens = file.texts("tokenizer.ggml.tokens");
  for (const auto& [name, key] : kSpecialKeys) {
    const auto id = gguf_token_id(file, key, tokens.size());
    if (id) config.special[name] = tokens[static_cast<size_t>(*id)];
  }
  if (file.has("tokenizer.chat_template")) {
    config.chat_template = replace_invalid_utf8(file.text("tokenizer.chat_template"));
  }
  if (file.has("tokenizer.ggml.add_bos_token")) config.add_bos = gguf_flag(file, "tokenizer.ggml.add_bos_token", false);
  if (file.has("tokenizer.ggml.add_eos_token")) config.add_eos = gguf_flag(file, "tokenizer.ggml.add_eos_token", false);
  return config;
}

namespace {

// What a "llama" tokenizer of GGUF can say of normalizer and pre-tokenizer: whether "▁" is put in front.
std::optional<bool> sentencepiece_prefix(const Json& pipeline, const std::string& where) {
  const Json& normalizer = pipeline["normalizer"];
  const Json& pre = pipeline["pre_tokenizer"];
  const Json replace = replace_json(" ", GgufTokens::kWordMark);
  const Json prepend = {{"type", "Prepend"}, {"prepend", GgufTokens::kWordMark}};
  const bool no_pre =
      pre.is_null() ||
      // Gemma's: after the replacement there is no space left to split at
      pre ==
          Json{
              {"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}};
  if (no_pre && normalizer == replace) return false;
  if (no_pre && normalizer == Json{{"type", "Sequence"}, {"normalizers", {prepend, replace}}}) return true;
  if (normalizer.is_null() && pre.is_object() && pre.value("type", "") == "Metaspace" &&
      pre.value("replacement", "") == GgufTokens::kWordMark && !pre.value("split", true)) {
    const std::string scheme = pre.value("prepend_scheme", "always");
    if (scheme == "first") {
      log_line(Level::warning, where +
                                   ": a text's first word only gets a space in front; in GGUF that holds for the "
                                   "first word after each special token, too");
    }
    return scheme != "never";
  }
  return std::nullopt;
}

}  // namespace

GgufMetadata write_gguf_tokenizer(const TokenizerParts& parts, const TokenizerConfig& config) {
  if (parts.wordpiece) return write_gguf_wordpiece(parts, config);
  const auto refuse = [&](const std::string& what) -> void {
    throw UnsupportedError(parts.where + ": " + what + " cannot be said in GGUF. Write a Hugging Face folder instead.");
  };
  const Json& pipeline = *parts.pipeline;
  int64_t count = 0;
  for (const auto& [piece, id] : parts.pieces) count = std::max(count, id + 1);
  for (const AddedToken& token : parts.added) count = std::max(count, token.id + 1);

  const auto used = static_cast<int64_t>(parts.pieces.size() + parts.added.size());
  if (count > 2 * used + 65536) {
    refuse("a vocabulary of " + std::to_string(used) + " tokens with ids up to " + std::to_string(count - 1));
  }

  std::vector<std::string> tokens(static_cast<size_t>(count));
  std::vector<int64_t> types(tokens.size(), unused);
  std::unordered_map<std::string, int64_t> ids;
  const auto pre =
      name_gguf_pre_tokenizer(pipeline["normalizer"], pipeline["pre_tokenizer"], parts.options.ignore_merges);
  for (size_t i = 0; i < tokens.size(); i++) tokens[i] = "[PAD" + std::to_string(i) + "]";  // holes
  for (const auto& [piece, id] : parts.pieces) {
    tokens[static_cast<size_t>(id)] = piece;
    const bool byte_piece = !pre && piece.size() == 6 && piece.compare(0, 3, "<0x") == 0 && piece[5] == '>';
    types[static_cast<size_t>(id)] = byte_piece && parts.options.byte_fallback ? byte : normal;
  }
  for (const AddedToken& token : parts.added) {
    if (token.single_word || token.lstrip || token.rstrip) {
      refuse("added token \"" + token.content + "\" with single_word, lstrip or rstrip");
    }
    tokens[static_cast<size_t>(token.id)] = token.content;
    const bool unk = parts.options.unk_token == token.content && !pre;
    types[static_cast<size_t>(token.id)] = unk ? unknown : token.special ? control : user_defined;
  }
  for (size_t i = 0; i < tokens.size(); i++) {
    if (!ids.emplace(tokens[i], static_cast<int64_t>(i)).second) refuse("token \"" + tokens[i] + "\", given twice,");
  }

  GgufMetadata metadata;
  const auto list = [](auto items) { return GgufValue(GgufArray{std::move(items)}); };
  if (pre) {
    std::vector<std::string> merges;
    for (const auto& [left, right] : parts.merges) {
      if (left.find(' ') != std::string::npos || right.find(' ') != std::string::npos) {
        refuse("the merge of \"" + left + "\" and \"" + right + "\", which hold spaces,");
      }
      merges.push_back(left + " " + right);
    }
    metadata = {{"tokenizer.ggml.model", std::string("gpt2")},
                {"tokenizer.ggml.pre", std::string(pre->name)},
                {"tokenizer.ggml.tokens", list(std::move(tokens))},
                {"tokenizer.ggml.token_type", list(std::move(types))},
                {"tokenizer.ggml.merges", list(std::move(merges))}};
  } else {
    const auto prefix = sentencepiece_prefix(pipeline, parts.where);
    if (!prefix || !parts.options.byte_fallback || parts.options.ignore_merges) {
      refuse("this way of normalizing and cutting the text (normalizer " + pipeline["normalizer"].dump() +
             ", pre_tokenizer " + pipeline["pre_tokenizer"].dump().substr(0, 300) + ")");
    }
    // A score for each token that makes its merges come in their order; then see whether GGUF means these merges.
    std::vector<double> scores(tokens.size(), 0.0);
    std::vector<bool> scored(tokens.size(), false);
    double score = 0;
    for (const auto& [left, right] : parts.merges) {
      const auto id = static_cast<size_t>(ids.at(left + right));
      if (!scored[id]) scores[id] = -(score += 1);
      scored[id] = true;
    }
    for (size_t i = 0; i < scores.size(); i++) {
      if (!scored[i] && types[i] == normal) scores[i] = -(score + 1);
    }
    std::vector<std::pair<std::string, int64_t>> pieces;
    for (size_t i = 0; i < tokens.size(); i++) pieces.emplace_back(tokens[i], static_cast<int64_t>(i));
    if (merges_by_score(pieces, scores, types) != parts.merges) {
      refuse("this list of merges (GGUF has scores of tokens, from which another list follows)");
    }
    metadata = {
        {"tokenizer.ggml.model", std::string("llama")},        {"tokenizer.ggml.pre", std::string("default")},
        {"tokenizer.ggml.tokens", list(std::move(tokens))},    {"tokenizer.ggml.scores", list(std::move(scores))},
        {"tokenizer.ggml.token_type", list(std::move(types))}, {"tokenizer.ggml.add_space_prefix", *prefix}};
  }
  for (const auto& [name, key] : kSpecialKeys) {
    const auto content = config.special.find(name);
    const auto id = content == config.special.end() ? ids.end() : ids.find(content->second);
    if (id != ids.end()) metadata.emplace_back(key, static_cast<uint64_t>(id->second));
  }
  metadata.emplace_back("tokenizer.ggml.add_bos_token", config.add_bos.value_or(false));
  metadata.emplace_back("tokenizer.ggml.add_eos_token", config.add_eos.value_or(false));
  if (config.chat_template) metadata.emplace_back("tokenizer.chat_template", *config.chat_template);
  return metadata;
}

}  // namespace pare
