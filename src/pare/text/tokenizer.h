// Text to token ids and back, the same ids as the model was trained with.
//
// added tokens split off -> normalizer -> pre-tokenizer -> BPE -> post-processor; the decoder for the way back.
// Byte-level BPE (GPT-2, SmolLM, Llama-3, Qwen) and SentencePiece-style BPE with byte fallback (Llama-2, Mistral,
// Gemma), from a folder's tokenizer.json or from GGUF metadata. Anything in tokenizer.json that is not known here is
// refused by name (UnsupportedError) rather than tokenized differently. Oracle: PyPI `tokenizers`.
// WordPiece tokenizers (BERT's) are read and written, too, and cut no text: encode() and decode() are UnsupportedError.
// Truncation and padding that a tokenizer.json asks for are not done: a text of any length gives all its tokens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pare/io/gguf_writer.h"

namespace pare {

// Immutable, cheap to copy; may be used from several threads at once.
class Tokenizer {
 public:
  // `where` names the source in messages.
  static Tokenizer from_json(std::string_view tokenizer_json, const std::string& where);
  static Tokenizer from_gguf(const GgufFile& file);
  // Hugging Face folder (with its tokenizer_config.json and chat template), tokenizer.json, .gguf file or the folder
  // that it is alone in.
  static Tokenizer open(const std::filesystem::path& model);

  // `add_special_tokens`: what the post-processor adds (BOS, EOS). Special tokens written out in the text are always
  // recognised. Invalid UTF-8 is replaced as Python's errors="replace" does it. Any length.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = true) const;
  // Ids out of range are InputError. `skip_special_tokens` leaves out those marked special.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;

  std::string kind() const;    // "byte-level BPE", "SentencePiece-style BPE" (byte fallback), "BPE", "WordPiece"
  int64_t vocab_size() const;  // one past the largest id
  std::string token(int32_t id) const;  // empty for an id in range that no token has; InputError out of range
  // What the token adds to a text that has begun, in bytes: "\xC3" where a character is cut, " a" for SentencePiece's
  // "\u2581a". Added tokens as they are spelt, special or not. Empty for an id without token; InputError out of range.
  std::string token_bytes(int32_t id) const;
  std::optional<int32_t> id(std::string_view token) const;
  std::optional<int32_t> bos() const;  // from tokenizer_config.json / GGUF; nothing when the model has none
  std::optional<int32_t> eos() const;
  bool is_special(int32_t id) const;
  std::optional<std::string> chat_template() const;
  // A tokenizer.json that gives the same ids: the file itself, or one made from GGUF metadata.
  std::string to_json() const;
  // tokenizer_config.json and special_tokens_map.json for a folder made from a GGUF (chat template included).
  std::string config_json() const;
  std::string special_tokens_map_json() const;
  // The tokenizer.* keys of a GGUF file that gives the same ids; UnsupportedError when GGUF cannot say it.
  GgufMetadata to_gguf() const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace pare
