// BERT's WordPiece vocabulary in GGUF metadata (tokenizer.ggml.model "bert"), both ways.
//
//   tokenizer.json   GGUF
//   play             ▁play     begins a word
//   ##ing            ing       goes on with one
//   [CLS]            [CLS]     special: token_type 3
//
// Readers of GGUF always clean the text, set apart Chinese characters and punctuation, and put CLS in front and SEP
// behind; tokenizer.ggml.normalizer.lowercase and .strip_accents they look up (absent: true, and as lowercase).
// The ids of CLS and SEP are under bos_token_id and seperator_token_id (so spelt), and once more under cls_ and
// eos_token_id, where older readers look.
#pragma once

#include <map>
#include <string>

#include "pare/text/tokenizer_parts.h"

namespace pare {

inline constexpr const char* kWordPiecePrefix = "##";

// InputError for ids out of range and the like; what GGUF leaves out is as llama.cpp has it.
TokenizerParts read_gguf_wordpiece(const GgufFile& file);
std::map<std::string, std::string> gguf_wordpiece_specials(const GgufFile& file);  // "cls_token" -> "[CLS]"
// UnsupportedError naming what GGUF cannot say.
GgufMetadata write_gguf_wordpiece(const TokenizerParts& parts, const TokenizerConfig& config);

}  // namespace pare
