// GGUF's words for what Hugging Face's folders say, both ways: names, config, the order of q and k rows.
//
// Architectures llama (Llama, Mistral, SmolLM2), smollm3, qwen2, qwen3, gemma2, gemma3, and bert (gguf_encoder.h).
// GGUF's "llama" turns adjacent pairs by RoPE where Hugging Face turns halves, so the rows of q and k lie in another
// order: in each head of size hd, GGUF's row 2i + s is Hugging Face's row s * hd/2 + i. Whole rows move, so no block is
// touched. Gemma's norms are stored plus one.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pare/io/gguf.h"
#include "pare/io/gguf_split.h"
#include "pare/io/gguf_writer.h"

namespace pare {

struct GgufModel {
  std::string architecture;  // general.architecture
  int64_t heads = 0, kv_heads = 0;
  bool permuted = false;  // q and k rows
  bool norm_plus_one = false;

  // UnsupportedError naming an unknown architecture; InputError a missing or absurd key.
  static GgufModel of(const GgufFile& file);
  static GgufModel of_config(const nlohmann::json& config);  // the one that a Hugging Face config is written as

  std::optional<std::string> hf_name(const std::string& gguf_name) const;  // with ".weight" or ".bias"
  std::optional<std::string> gguf_name(const std::string& hf_name) const;
  // Heads whose rows are permuted in this tensor (Hugging Face's name); 0: none are.
  int64_t permuted_heads(const std::string& hf_name) const;
  bool is_raised_norm(const std::string& hf_name) const;  // stored plus one
  // BERT's positions and token types: llama.cpp adds their rows as F32 and nothing else.
  bool is_table_in_f32(const std::string& hf_name) const;
};

// gguf_config.cpp. What GGUF leaves to its reader to know (Gemma's attention scale by size of model, its local rope) is
// as llama.cpp has it. A rope_freqs.weight becomes rope type llama3, or one that DecoderConfig refuses by name.
nlohmann::json config_from_gguf(const GgufParts& parts);

// Every key but the tokenizer's. UnsupportedError where GGUF's readers would compute something else than the config
// says.
GgufMetadata gguf_metadata_from_config(const nlohmann::json& config);
// The tensor rope_freqs.weight, F32 [head_dim/2], that goes with the metadata where rope is scaled as Llama-3's.
std::optional<std::vector<float>> gguf_rope_freqs(const nlohmann::json& config);
// What the file does not say and its readers do otherwise on long texts ("sliding window ..."), for the report.
std::vector<std::string> gguf_warnings(const nlohmann::json& config);

// dst = the rows of src in the other order, each `row_bytes` long.
enum class RowOrder { to_hf, to_gguf };
std::vector<std::byte> reorder_rows(std::span<const std::byte> src, int64_t rows, int64_t heads, RowOrder order);

}  // namespace pare
