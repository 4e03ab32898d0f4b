#include "support/random_model.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>
#include <thread>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/random.h"
#include "pare/io/safetensors_writer.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

std::vector<TensorSpec> tensor_list(const RandomModel& model, Dtype dtype) {
  const int64_t head_dim = model.hidden / model.heads;
  std::vector<TensorSpec> tensors{{"model.embed_tokens.weight", dtype, {model.vocab, model.hidden}}};
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto add = [&](const char* name, std::vector<int64_t> shape) {
      tensors.push_back({prefix + name, dtype, std::move(shape)});
    };
    add("input_layernorm.weight", {model.hidden});
    add("self_attn.q_proj.weight", {model.hidden, model.hidden});
    add("self_attn.k_proj.weight", {model.kv_heads * head_dim, model.hidden});
    add("self_attn.v_proj.weight", {model.kv_heads * head_dim, model.hidden});
    add("self_attn.o_proj.weight", {model.hidden, model.hidden});
    add("post_attention_layernorm.weight", {model.hidden});
    add("mlp.gate_proj.weight", {model.intermediate, model.hidden});
    add("mlp.up_proj.weight", {model.intermediate, model.hidden});
    add("mlp.down_proj.weight", {model.hidden, model.intermediate});
  }
  tensors.push_back({"model.norm.weight", dtype, {model.hidden}});
  if (!model.tied) tensors.push_back({"lm_head.weight", dtype, {model.vocab, model.hidden}});
  return tensors;
}

std::vector<float> random_values(const TensorSpec& tensor, uint64_t seed) {
  const bool vector = tensor.shape.size() == 1;
  const int64_t cols = tensor.shape.back(), rows = vector ? 1 : tensor.shape[0];
  std::vector<float> values(static_cast<size_t>(rows * cols));
  const CounterRandom random(seed, tensor.name);
  const auto normal = [&](uint64_t index) {  // Box-Muller
    return static_cast<float>(std::sqrt(-2 * std::log(1 - random.uniform(2 * index))) *
                              std::cos(2 * std::numbers::pi * random.uniform(2 * index + 1)));
  };
  const float scale = 1 / std::sqrt(static_cast<float>(cols));
  const auto fill = [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        const auto index = static_cast<uint64_t>(r * cols + c);
        const float column = 0.5f + static_cast<float>(mix64(static_cast<uint64_t>(c)) & 7) / 4;
        values[index] = vector ? 1 + 0.1f * normal(index) : scale * column * normal(index);
      }
    }
  };
  const int64_t half = rows / 2;
  std::thread other(fill, 0, half);
  fill(half, rows);
  other.join();
  return values;
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw ResourceError(path.string() + ": cannot write");
}

// Every byte a token, in the byte-level alphabet of GPT-2.
std::string byte_tokenizer() {
  ordered_json vocab = ordered_json::object();
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const int point = printable ? byte : next++;
    std::string piece;
    if (point < 0x80) {
      piece = static_cast<char>(point);
    } else {
      piece = {static_cast<char>(0xc0 | (point >> 6)), static_cast<char>(0x80 | (point & 0x3f))};
    }
    vocab[piece] = byte;
  }
  const ordered_json byte_level{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  return ordered_json{{"version", "1.0"},
                      {"added_tokens", ordered_json::array()},
                      {"normalizer", nullptr},
                      {"pre_tokenizer", byte_level},
                      {"post_processor", byte_level},
                      {"decoder", byte_level},
                      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", ordered_json::array()}}}}
      .dump();
}

}  // namespace

void write_random_model(const fs::path& folder, const RandomModel& model) {
  fs::create_directories(folder);
  const auto dtype = dtype_from_name(model.dtype);
  PARE_ASSERT(dtype.has_value());
  const auto tensors = tensor_list(model, *dtype);
  std::vector<std::vector<TensorSpec>> shards(1);
  uint64_t filled = 0, total = 0;
  for (const TensorSpec& tensor : tensors) {
    uint64_t bytes = static_cast<uint64_t>(size_of(*dtype));
    for (int64_t dim : tensor.shape) bytes *= static_cast<uint64_t>(dim);
    if (filled > 0 && filled + bytes > model.shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    filled += bytes;
    total += bytes;
    shards.back().push_back(tensor);
  }
  ordered_json map = ordered_json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    char name[64] = "model.safetensors";
    if (shards.size() > 1) std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
    SafetensorsWriter writer(folder / name, shards[i]);
    for (const TensorSpec& tensor : shards[i]) {
      const auto values = random_values(tensor, model.seed);
      std::vector<std::byte> bytes(values.size() * static_cast<size_t>(size_of(*dtype)));
      from_float(*dtype, values.data(), static_cast<int64_t>(values.size()), bytes.data());
      writer.write(tensor.name, bytes);
      map[tensor.name] = name;
    }
    writer.finish();
  }
  if (shards.size() > 1) {
    write_text(folder / "model.safetensors.index.json",
               ordered_json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(1));
  }
  const std::string torch_dtype = model.dtype == "F32" ? "float32" : model.dtype == "F16" ? "float16" : "bfloat16";
  const ordered_json config{{"architectures", {"LlamaForCausalLM"}},
                            {"model_type", "llama"},
                            {"vocab_size", model.vocab},
                            {"hidden_size", model.hidden},
                            {"intermediate_size", model.intermediate},
                            {"num_hidden_layers", model.layers},
                            {"num_attention_heads", model.heads},
                            {"num_key_value_heads", model.kv_heads},
                            {"hidden_act", "silu"},
                            {"max_position_embeddings", 4096},
                            {"rms_norm_eps", 1e-5},
                            {"rope_theta", 10000.0},
                            {"tie_word_embeddings", model.tied},
                            {"torch_dtype", torch_dtype}};
  write_text(folder / "config.json", config.dump(1));
  write_text(folder / "tokenizer.json", byte_tokenizer());
  write_text(folder / "tokenizer_config.json", "{}");
}

}  // namespace pare
