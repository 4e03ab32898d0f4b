// A BERT model on its way into GGUF: what goes along under which name, and what stays behind.
//
// GGUF holds what makes the last hidden states. The pooler and the heads behind them have no place there; what makes
// the vector of a text is then mean, first or last token. Where modules.json says that this is what the model is for,
// nothing is lost by leaving them out; where it does not, leaving them out is a loss.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pare/pipeline/exporter.h"
#include "pare/pipeline/gguf_mix.h"
#include "pare/weights/encoder_config.h"
#include "pare/weights/gguf_model.h"
#include "pare/weights/sentence_modules.h"

namespace pare {

class EncoderConversion {
 public:
  // InputError for a tensor that is missing or of another shape; UnsupportedError for what GGUF cannot say.
  explicit EncoderConversion(const ModelFiles& source);

  std::optional<std::string> name_of(const std::string& stored) const;  // BertModel's; nothing: it stays behind
  // Of a matrix, for mixes of types; nothing for positions, token types and what is no matrix.
  std::optional<MixPlace> mix_place(const ParameterInfo& parameter) const;

  const std::vector<std::string>& left_out() const { return left_out_; }  // without what every loader computes itself
  bool leaving_out_loses() const { return !modules_.pooling; }
  std::vector<std::string> notes() const;

 private:
  void check() const;

  const ModelFiles& source_;
  EncoderConfig config_;
  GgufModel gguf_;
  SentenceModules modules_;
  std::map<std::string, const ParameterInfo*> by_name_;  // those that go along
  std::vector<std::string> left_out_;
};

}  // namespace pare
