// GGUF's architecture "bert": metadata from a BERT config and back.
//
// Keys as llama.cpp has them: bert.block_count, .context_length, .embedding_length, .feed_forward_length,
// .attention.head_count, .attention.layer_norm_epsilon, .attention.causal (false), .pooling_type, and
// tokenizer.ggml.token_type_count. Its readers compute GELU by tanh and add row 0 of the token types to every token.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "pare/io/gguf_writer.h"

namespace pare {

// UnsupportedError where the file says something else than plain BERT; InputError as GgufFile's.
nlohmann::json encoder_config_from_gguf(const GgufFile& file);
// Every key but the tokenizer's own and the pooling.
GgufMetadata gguf_metadata_of_encoder(const nlohmann::json& config);

}  // namespace pare
