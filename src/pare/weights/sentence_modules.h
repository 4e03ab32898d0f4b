// How a text's tokens become one vector: sentence-transformers' files around an encoder, or a key of GGUF.
//
//   modules.json                 which modules follow each other, and in which folders: Transformer, Pooling, Normalize
//   1_Pooling/config.json        pooling_mode_mean_tokens and the like, one of them true; or pooling_mode "mean"
//   sentence_bert_config.json    max_seq_length: what is cut off longer texts
//   GGUF                         bert.pooling_type
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pare/weights/encoder_config.h"
#include "pare/weights/model_files.h"

namespace pare {

enum class SentencePooling {
  none = 0,
  mean = 1,
  cls = 2,
  last = 3,
  rank = 4
};  // numbers as in GGUF; rank: a score, no vector
const char* name_of(SentencePooling pooling);

struct SentenceModules {
  std::optional<SentencePooling> pooling;  // nothing: the model does not say
  std::optional<int64_t> longest_text;     // tokens
  std::optional<std::string> put_before;   // a prompt that every text gets unless told otherwise
};

// UnsupportedError for modules and modes that GGUF has no word for; InputError for files that make no sense.
SentenceModules sentence_modules(const ModelFiles& model);

// The files that say so: name in the folder, and text.
std::vector<std::pair<std::filesystem::path, std::string>> sentence_files(SentencePooling pooling,
                                                                          const EncoderConfig& config);

}  // namespace pare
