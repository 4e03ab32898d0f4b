// Tokenizers for tests, made of nothing.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "pare/text/byte_level.h"
#include "pare/text/tokenizer.h"
#include "pare/text/unicode.h"

namespace pare {

inline nlohmann::json empty_tokenizer() {
  nlohmann::json json = {{"version", "1.0"},          {"added_tokens", nlohmann::json::array()},
                         {"normalizer", nullptr},     {"pre_tokenizer", nullptr},
                         {"post_processor", nullptr}, {"decoder", nullptr}};
  json["model"] = {{"type", "BPE"}, {"vocab", nlohmann::json::object()}, {"merges", nlohmann::json::array()}};
  return json;
}

// Token i is byte i; 256 is <end>, special.
inline Tokenizer byte_tokenizer() {
  nlohmann::json json = empty_tokenizer();
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    append_utf8(piece, kByteCharacters[static_cast<size_t>(byte)]);
    json["model"]["vocab"][piece] = byte;
  }
  const nlohmann::json step = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  json["pre_tokenizer"] = json["decoder"] = step;
  json["added_tokens"].push_back({{"id", 256},
                                  {"content", "<end>"},
                                  {"single_word", false},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", false},
                                  {"special", true}});
  return Tokenizer::from_json(json.dump(), "bytes");
}

// Llama-2's decoder: a space in front of words, bytes as <0xHH>, the very first space stripped.
inline Tokenizer sentencepiece_tokenizer() {
  nlohmann::json json = empty_tokenizer();
  int id = 0;
  for (int byte = 0; byte < 256; ++byte) {
    char piece[8];
    std::snprintf(piece, sizeof piece, "<0x%02X>", static_cast<unsigned>(byte));
    json["model"]["vocab"][piece] = id++;
  }
  for (const char* piece : {"\u2581", "\u2581a", "b", "\u2581\u2581", "\u00e4", "\u2581\u4e2d", "c\u2581"})
    json["model"]["vocab"][piece] = id++;
  json["model"]["byte_fallback"] = true;
  json["added_tokens"].push_back({{"id", id},
                                  {"content", "<s>"},
                                  {"single_word", false},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", false},
                                  {"special", true}});
  json["decoder"] = {{"type", "Sequence"},
                     {"decoders",
                      {{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
                       {{"type", "ByteFallback"}},
                       {{"type", "Fuse"}},
                       {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
  return Tokenizer::from_json(json.dump(), "sentencepiece");
}

}  // namespace pare
