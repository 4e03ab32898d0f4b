// BERT and the sentence encoders made of it (all-MiniLM, BGE, GTE, E5 ...): Pare looks at them and converts them, and
// does not run them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

namespace pare {

bool is_encoder(const nlohmann::json& config);  // by model_type

struct EncoderConfig {
  int64_t vocab_size = 0, hidden = 0, intermediate = 0, layers = 0, heads = 0;
  int64_t max_positions = 0;
  int64_t token_types = 0;  // rows of the table that tells a first text from a second one
  double norm_eps = 1e-12;

  bool operator==(const EncoderConfig&) const = default;

  // Defaults are those of transformers' BertConfig. UnsupportedError for a value that would compute something else than
  // plain BERT does (relative positions, a decoder's mask, another activation than GELU); InputError as DecoderConfig.
  static EncoderConfig from_hf(const nlohmann::json& config);
};

}  // namespace pare
