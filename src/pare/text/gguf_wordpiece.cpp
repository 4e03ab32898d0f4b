#include "pare/text/gguf_wordpiece.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "pare/base/error.h"
#include "pare/text/gguf_tokens.h"
#include "pare/text/post_processor.h"

namespace pare {
namespace {

using Json = nlohmann::json;
using enum GgufTokens::Type;

constexpr const char* kLowercase = "tokenizer.ggml.normalizer.lowercase";
constexpr const char* kStripAccents = "tokenizer.ggml.normalizer.strip_accents";

// Where the id of a special token is, and which it is in BERT's own vocabulary, which holds where the file is silent.
struct SpecialKey {
  const char *name, *key, *older;
  int64_t otherwise;
};
constexpr SpecialKey kCls{"cls_token", "tokenizer.ggml.cls_token_id", "tokenizer.ggml.bos_token_id", 101};
constexpr SpecialKey kSep{"sep_token", "tokenizer.ggml.seperator_token_id", "tokenizer.ggml.eos_token_id", 102};
constexpr SpecialKey kUnk{"unk_token", "tokenizer.ggml.unknown_token_id", nullptr, 100};
constexpr SpecialKey kPad{"pad_token", "tokenizer.ggml.padding_token_id", nullptr, 0};
constexpr SpecialKey kMask{"mask_token", "tokenizer.ggml.mask_token_id", nullptr, 103};
constexpr const SpecialKey* kSpecials[] = {&kCls, &kSep, &kUnk, &kPad, &kMask};

std::optional<int64_t> special_id(const GgufFile& file, const SpecialKey& special, size_t tokens) {
  auto id = gguf_token_id(file, special.key, tokens);
  if (!id && special.older != nullptr) id = gguf_token_id(file, special.older, tokens);
  if (!id && special.otherwise < static_cast<int64_t>(tokens)) id = special.otherwise;
  return id;
}

// As tokenizer.json has it. Files of 2024 have "[unused5]" as it stands though it is a normal token.
std::string piece_of(const std::string& token, int64_t type) {
  const std::string_view mark = GgufTokens::kWordMark;
  if (token.starts_with(mark) && token != mark) return token.substr(mark.size());
  const bool bracketed = token.size() > 2 && token.front() == '[' && token.back() == ']';
  return bracketed || (type != normal && type != byte) ? token : kWordPiecePrefix + token;
}

std::string token_of(const std::string& piece) {
  const bool goes_on = piece.starts_with(kWordPiecePrefix);
  return goes_on ? piece.substr(std::string_view(kWordPiecePrefix).size()) : GgufTokens::kWordMark + piece;
}

Json template_json(const std::string& cls, int64_t cls_id, const std::string& sep, int64_t sep_id) {
  const auto special = [](const std::string& token, int type) {
    return Json{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  const auto text = [](const char* name, int type) { return Json{{"Sequence", {{"id", name}, {"type_id", type}}}}; };
  return {{"type", "TemplateProcessing"},
          {"single", {special(cls, 0), text("A", 0), special(sep, 0)}},
          {"pair", {special(cls, 0), text("A", 0), special(sep, 0), text("B", 1), special(sep, 1)}},
          {"special_tokens",
           {{cls, {{"id", cls}, {"ids", {cls_id}}, {"tokens", {cls}}}},
            {sep, {{"id", sep}, {"ids", {sep_id}}, {"tokens", {sep}}}}}}};
}

[[noreturn]] void refuse(const TokenizerParts& parts, const std::string& what) {
  throw UnsupportedError(parts.where + ": " + what + " cannot be said in GGUF. Write a Hugging Face folder instead.");
}

// The ids in front of a text and behind it.
std::pair<int64_t, int64_t> cls_and_sep(const TokenizerParts& parts) {
  const JsonPart part{(*parts.pipeline)["post_processor"], parts.where + ": post_processor"};
  if (part.json.is_object() && part.type() == "BertProcessing") {
    part.only_keys({"cls", "sep"});
    const auto id = [&](const char* key) {
      const JsonPart pair = part.part(key);  // ["[CLS]", 101]
      if (pair.items("a token and its id") != 2) throw InputError(pair.where + ": expected a token and its id");
      return pair.item(1).integer(kMostTokens - 1);
    };
    return {id("cls"), id("sep")};
  }
  constexpr int32_t kText = -1;
  const std::vector<int32_t> around = PostProcessor(part).apply({kText});
  if (around.size() != 3 || around[1] != kText) refuse(parts, "other tokens around a text than one on either side");
  return {around[0], around[2]};
}

struct Normalizing {
  bool lowercase = true, strip_accents = true;
};
Normalizing normalizing_of(const TokenizerParts& parts) {
  const JsonPart cut{(*parts.pipeline)["pre_tokenizer"], parts.where + ": pre_tokenizer"};
  if (!cut.json.is_object() || cut.type() != "BertPreTokenizer") refuse(parts, "pre_tokenizer " + cut.json.dump());
  const JsonPart part{(*parts.pipeline)["normalizer"], parts.where + ": normalizer"};
  if (!part.json.is_object() || part.type() != "BertNormalizer") refuse(parts, "normalizer " + part.json.dump());
  part.only_keys({"clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
  for (const char* key : {"clean_text", "handle_chinese_chars"}) {
    if (!part.flag(key, true)) refuse(parts, std::string("normalizer: ") + key + " false");
  }
  Normalizing result;
  result.lowercase = part.flag("lowercase", true);
  const auto strip = part.json.find("strip_accents");
  const bool said = strip != part.json.end() && !strip->is_null();
  result.strip_accents = said ? part.flag("strip_accents") : result.lowercase;
  return result;
}

GgufTokens tokens_of(const TokenizerParts& parts) {
  int64_t count = 0;
  for (const auto& [piece, id] : parts.pieces) count = std::max(count, id + 1);
  for (const AddedToken& token : parts.added) count = std::max(count, token.id + 1);
  const auto used = static_cast<int64_t>(parts.pieces.size() + parts.added.size());
  if (count > 2 * used + 65536) {
    refuse(parts, "a vocabulary of " + std::to_string(used) + " tokens with ids up to " + std::to_string(count - 1));
  }
  GgufTokens tokens;
  tokens.types.assign(static_cast<size_t>(count), unused);
  for (int64_t i = 0; i < count; ++i) tokens.text.push_back("[PAD" + std::to_string(i) + "]");  // holes
  const auto put = [&](int64_t id, std::string text, int64_t type) {
    tokens.text[static_cast<size_t>(id)] = std::move(text);
    tokens.types[static_cast<size_t>(id)] = type;
  };
  for (const auto& [piece, id] : parts.pieces) put(id, token_of(piece), normal);
  for (const AddedToken& token : parts.added) {
    if (token.single_word || token.lstrip || token.rstrip) {
      refuse(parts, "added token \"" + token.content + "\" with single_word, lstrip or rstrip");
    }
    put(token.id, token.content, token.special ? control : user_defined);
  }
  std::set<std::string_view> seen;
  for (const std::string& token : tokens.text) {
    if (!seen.insert(token).second) refuse(parts, "token \"" + token + "\", which two pieces become,");
  }
  return tokens;
}

}  // namespace

TokenizerParts read_gguf_wordpiece(const GgufFile& file) {
  TokenizerParts parts;
  parts.where = file.path().string();
  parts.wordpiece = true;
  const GgufTokens tokens = GgufTokens::of(file);
  std::set<int64_t> special;
  for (const SpecialKey* one : kSpecials) {
    if (const auto id = special_id(file, *one, tokens.text.size())) special.insert(*id);
  }
  for (size_t i = 0; i < tokens.text.size(); ++i) {
    const auto id = static_cast<int64_t>(i);
    const int64_t type = special.contains(id) ? control : tokens.types[i];
    if (type == unused) continue;
    parts.pieces.emplace_back(piece_of(tokens.text[i], type), id);
    if (type == normal || type == byte) continue;
    parts.added.push_back(
        {.id = id, .content = parts.pieces.back().first, .normalized = false, .special = type != user_defined});
  }
  const auto id_of = [&](const SpecialKey& key) {
    const auto id = special_id(file, key, tokens.text.size());
    if (!id) throw InputError(gguf_place(file, key.key) + ": is missing");
    return *id;
  };
  const auto text_of = [&](int64_t id) { return piece_of(tokens.text[static_cast<size_t>(id)], control); };
  const int64_t cls = id_of(kCls), sep = id_of(kSep);
  parts.options.unk_token = text_of(id_of(kUnk));
  const bool lowercase = gguf_flag(file, kLowercase, true);
  const bool strip = gguf_flag(file, kStripAccents, lowercase);
  Json pipeline;
  pipeline["normalizer"] = {{"type", "BertNormalizer"},
                            {"clean_text", true},
                            {"handle_chinese_chars", true},
                            {"strip_accents", strip == lowercase ? Json(nullptr) : Json(strip)},
                            {"lowercase", lowercase}};
  pipeline["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  pipeline["post_processor"] = template_json(text_of(cls), cls, text_of(sep), sep);
  pipeline["decoder"] = {{"type", "WordPiece"}, {"prefix", kWordPiecePrefix}, {"cleanup", true}};
  parts.pipeline = std::make_shared<const Json>(std::move(pipeline));
  return parts;
}

std::map<std::string, std::string> gguf_wordpiece_specials(const GgufFile& file) {
  const GgufTokens tokens = GgufTokens::of(file);
  std::map<std::string, std::string> specials;
  for (const SpecialKey* special : kSpecials) {
    const auto id = special_id(file, *special, tokens.text.size());
    if (id) specials[special->name] = piece_of(tokens.text[static_cast<size_t>(*id)], control);
  }
  return specials;
}

GgufMetadata write_gguf_wordpiece(const TokenizerParts& parts, const TokenizerConfig& config) {
  const Normalizing normalizing = normalizing_of(parts);
  const auto [cls, sep] = cls_and_sep(parts);
  GgufTokens tokens = tokens_of(parts);
  GgufMetadata metadata{{"tokenizer.ggml.model", std::string("bert")},
                        {"tokenizer.ggml.pre", std::string("default")},
                        {kLowercase, normalizing.lowercase},
                        {kStripAccents, normalizing.strip_accents}};
  const auto put_id = [&](const SpecialKey& special, int64_t id) {
    if (id >= static_cast<int64_t>(tokens.text.size())) {
      throw InputError(parts.where + ": post_processor: id " + std::to_string(id) + " is no token");
    }
    metadata.emplace_back(special.key, static_cast<uint64_t>(id));
    if (special.older != nullptr) metadata.emplace_back(special.older, static_cast<uint64_t>(id));
  };
  const auto put_named = [&](const SpecialKey& special, const std::string& name) {
    for (const auto& [piece, id] : parts.pieces) {
      if (piece == name) put_id(special, id);
    }
  };
  put_id(kCls, cls);
  put_id(kSep, sep);
  put_named(kUnk, parts.options.unk_token.value_or(""));
  for (const SpecialKey* special : {&kPad, &kMask}) {
    const auto named = config.special.find(special->name);
    if (named != config.special.end()) put_named(*special, named->second);
  }
  const auto list = [](auto items) { return GgufValue(GgufArray{std::move(items)}); };
  metadata.emplace_back("tokenizer.ggml.tokens", list(std::move(tokens.text)));
  metadata.emplace_back("tokenizer.ggml.token_type", list(std::move(tokens.types)));
  return metadata;
}

}  // namespace pare
