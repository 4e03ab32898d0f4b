#include "pare/text/tokenizer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/model_path.h"
#include "pare/io/gguf_split.h"
#include "pare/text/post_processor.h"
#include "pare/text/pre_tokenizer.h"
#include "pare/text/text_decoder.h"
#include "pare/text/tokenizer_parts.h"
#include "pare/text/unicode.h"

namespace pare {
namespace {

constexpr uint64_t kLongestFile_bytes = uint64_t{512} << 20;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError(path.string() + ": cannot open: " + std::strerror(errno));
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw InputError(path.string() + ": cannot read its size: " + error.message());
  if (size > kLongestFile_bytes) {
    throw InputError(path.string() + ": " + std::to_string(size) + " bytes; at most " +
                     std::to_string(kLongestFile_bytes) + " are read");
  }
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  if (static_cast<uint64_t>(file.gcount()) != size) throw InputError(path.string() + ": shorter than its size says");
  return text;
}

TokenizerConfig read_folder_config(const std::filesystem::path& folder) {
  const auto read = [&](const char* name) {
    const auto path = folder / name;
    return std::filesystem::exists(path) ? read_tokenizer_config(read_file(path), path.string()) : TokenizerConfig{};
  };
  TokenizerConfig config = read("tokenizer_config.json");
  config.special.merge(read("special_tokens_map.json").special);  // older; for what the newer file leaves out
  const auto chat = folder / "chat_template.jinja";
  if (std::filesystem::exists(chat)) config.chat_template = replace_invalid_utf8(read_file(chat));
  return config;
}

}  // namespace

struct Tokenizer::Impl {
  std::string where;
  std::string json;  // the tokenizer.json it was read from; empty: from GGUF
  std::shared_ptr<const nlohmann::json> pipeline;
  TokenizerConfig config;
  std::shared_ptr<const Vocabulary> vocabulary;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  PostProcessor post_processor;
  TextDecoder decoder;
  std::unique_ptr<const AddedTokens> added;
  std::unique_ptr<const Bpe> bpe;  // nothing for WordPiece, which is carried from file to file and not run
  BpeOptions options;

  Impl(TokenizerParts parts, TokenizerConfig config_of_model)
      : where(parts.where),
        pipeline(parts.pipeline),
        config(std::move(config_of_model)),
        vocabulary(std::make_shared<Vocabulary>(std::move(parts.pieces), where + ": model: vocab")),
        options(parts.options) {
    if (!parts.wordpiece) {
      normalizer = Normalizer(part("normalizer"));
      pre_tokenizer = PreTokenizer(part("pre_tokenizer"));
      post_processor = PostProcessor(part("post_processor"));
      decoder = TextDecoder(part("decoder"));
      bpe = std::make_unique<Bpe>(vocabulary, parts.merges, options, where + ": model");
    }
    added = std::make_unique<AddedTokens>(std::move(parts.added), *vocabulary, normalizer, where);
  }

  JsonPart part(const char* name) const { return {(*pipeline)[name], where + ": " + name}; }

  int64_t end() const { return std::max(vocabulary->end(), added->end()); }

  std::optional<int32_t> special(const char* name) const {
    const auto content = config.special.find(name);
    if (content == config.special.end()) return std::nullopt;
    const auto id = added->id(content->second);
    return id ? id : vocabulary->id(content->second);
  }

  void check_runs() const {
    if (bpe) return;
    throw UnsupportedError(where +
                           ": a WordPiece tokenizer, as encoders have it: Pare inspects and converts it and cuts no "
                           "text with it");
  }

  void check_id(int32_t id) const {
    if (id < 0 || id >= end()) {
      throw InputError(where + ": token id " + std::to_string(id) + "; this tokenizer has ids 0 to " +
                       std::to_string(end() - 1));
    }
  }

  TokenizerParts parts() const {
    TokenizerParts parts;
    parts.where = where;
    for (int32_t id = 0; id < vocabulary->end(); id++) {
      if (const std::string* piece = vocabulary->piece(id)) parts.pieces.emplace_back(*piece, id);
    }
    if (bpe) parts.merges = bpe->merges();
    parts.wordpiece = !bpe;
    parts.options = options;
    parts.added = added->all();
    parts.pipeline = pipeline;
    return parts;
  }
};

Tokenizer Tokenizer::from_json(std::string_view tokenizer_json, const std::string& where) {
  auto impl = std::make_shared<Impl>(read_tokenizer_json(tokenizer_json, where), TokenizerConfig{});
  impl->json = tokenizer_json;
  Tokenizer tokenizer;
  tokenizer.impl_ = std::move(impl);
  return tokenizer;
}

Tokenizer Tokenizer::from_gguf(const GgufFile& file) {
  Tokenizer tokenizer;
  tokenizer.impl_ = std::make_shared<Impl>(read_gguf_tokenizer(file), read_gguf_tokenizer_config(file));
  return tokenizer;
}

Tokenizer Tokenizer::open(const std::filesystem::path& given) {
  if (!std::filesystem::exists(given)) throw InputError(no_such_model(given));
  const std::filesystem::path model = std::filesystem::exists(given / "tokenizer.json") ? given : model_in(given);
  if (!std::filesystem::is_directory(model)) {
    if (model.extension() != ".json") return from_gguf(GgufParts::open(model).first());
    return from_json(read_file(model), model.string());
  }
  const auto path = model / "tokenizer.json";
  if (!std::filesystem::exists(path)) {
    std::string why = "; the folder has no tokenizer that Pare reads";
    for (const char* other : {"tokenizer.model", "vocab.txt"}) {
      if (!std::filesystem::exists(model / other)) continue;
      why = "; " + std::string(other) +
            " alone is not read. Make tokenizer.json with transformers: "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)";
    }
    throw InputError(path.string() + ": is missing" + why);
  }
  std::string json = read_file(path);
  auto impl = std::make_shared<Impl>(read_tokenizer_json(json, path.string()), read_folder_config(model));
  impl->json = std::move(json);
  Tokenizer tokenizer;
  tokenizer.impl_ = std::move(impl);
  return tokenizer;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  impl_->check_runs();
  std::string replaced;
  if (!is_valid_utf8(text)) text = replaced = replace_invalid_utf8(text);
  std::vector<int32_t> tokens;
  Bpe::Cache cache;
  for (const AddedTokens::Piece& raw : impl_->added->cut(text, AddedTokens::Pass::raw)) {
    if (raw.token) {
      tokens.push_back(*raw.token);
      continue;
    }
    bool from_start = raw.range.begin == 0;
    const std::string normalized =
        impl_->normalizer.apply(std::string(text.substr(raw.range.begin, raw.range.end - raw.range.begin)), from_start);
    for (const AddedTokens::Piece& piece : impl_->added->cut(normalized, AddedTokens::Pass::normalized)) {
      if (piece.token) {
        tokens.push_back(*piece.token);
        continue;
      }
      const Words words =
          impl_->pre_tokenizer.apply(normalized.substr(piece.range.begin, piece.range.end - piece.range.begin),
                                     from_start && piece.range.begin == 0);
      for (const TextRange& word : words.ranges) {
        impl_->bpe->encode(std::string_view(words.text).substr(word.begin, word.end - word.begin), tokens, cache);
      }
    }
  }
  return add_special_tokens ? impl_->post_processor.apply(std::move(tokens)) : tokens;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  impl_->check_runs();
  std::vector<std::string> pieces;
  pieces.reserve(ids.size());
  for (int32_t id : ids) {
    impl_->check_id(id);
    if (const AddedToken* token = impl_->added->find(id)) {
      if (!(skip_special_tokens && token->special)) pieces.push_back(impl_->added->decoded(*token));
    } else if (const std::string* piece = impl_->vocabulary->piece(id)) {
      pieces.push_back(*piece);
    }
  }
  return impl_->decoder.apply(std::move(pieces));
}

std::string Tokenizer::kind() const {
  if (!impl_->bpe) return "WordPiece";
  if (impl_->options.byte_fallback) return "SentencePiece-style BPE";
  const bool byte_level = (*impl_->pipeline)["decoder"].dump().find("\"ByteLevel\"") != std::string::npos;
  return byte_level ? "byte-level BPE" : "BPE";
}

int64_t Tokenizer::vocab_size() const {
  return impl_->end();
}

std::string Tokenizer::token(int32_t id) const {
  impl_->check_id(id);
  if (const AddedToken* token = impl_->added->find(id)) return token->content;
  const std::string* piece = impl_->vocabulary->piece(id);
  return piece ? *piece : "";
}

std::string Tokenizer::token_bytes(int32_t id) const {
  impl_->check_id(id);
  if (const AddedToken* token = impl_->added->find(id)) return impl_->decoder.bytes_of(impl_->added->decoded(*token));
  const std::string* piece = impl_->vocabulary->piece(id);
  return piece ? impl_->decoder.bytes_of(*piece) : "";
}

std::optional<int32_t> Tokenizer::id(std::string_view token) const {
  const auto id = impl_->added->id(token);
  return id ? id : impl_->vocabulary->id(token);
}

std::optional<int32_t> Tokenizer::bos() const {
  return impl_->special("bos_token");
}
std::optional<int32_t> Tokenizer::eos() const {
  return impl_->special("eos_token");
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = impl_->added->find(id);
  return token && token->special;
}

std::optional<std::string> Tokenizer::chat_template() const {
  return impl_->config.chat_template;
}

std::string Tokenizer::to_json() const {
  return impl_->json.empty() ? write_tokenizer_json(impl_->parts()) : impl_->json;
}

std::string Tokenizer::config_json() const {
  return write_tokenizer_config(impl_->config);
}
std::string Tokenizer::special_tokens_map_json() const {
  return write_special_tokens_map(impl_->config);
}

GgufMetadata Tokenizer::to_gguf() const {
  if (!impl_->bpe) return write_gguf_tokenizer(impl_->parts(), impl_->config);
  TokenizerConfig config = impl_->config;
  // What is put around a text, told by putting it around a text of one token
  constexpr int32_t kText = -1;
  std::vector<int32_t> around = impl_->post_processor.apply({kText});
  config.add_bos = around.size() > 1 && around.front() != kText && around.front() == bos();
  if (*config.add_bos) around.erase(around.begin());
  config.add_eos = around.size() > 1 && around.back() != kText && around.back() == eos();
  if (*config.add_eos) around.pop_back();
  if (around.size() != 1) {
    throw UnsupportedError(impl_->where +
                           ": post_processor: tokens other than one BOS in front and one EOS behind cannot be said in "
                           "GGUF, or bos_token and eos_token are not named in tokenizer_config.json");
  }
  return write_gguf_tokenizer(impl_->parts(), config);
}

}  // namespace pare
