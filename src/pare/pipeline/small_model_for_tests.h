// A model folder of two small blocks, as a hub would hold it: config, byte-level tokenizer, card, licence, a strange
// file.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pare/base/random.h"
#include "pare/io/safetensors_writer.h"
#include "pare/text/byte_level.h"
#include "pare/weights/weight.h"

namespace pare {

struct SmallModel {
  Dtype dtype = Dtype::bf16;
  std::string model_type = "llama";
  bool new_config = false;  // transformers 5's keys
  uint64_t seed = 1;
};
constexpr int64_t kHidden = 64, kInner = 96, kVocabulary = 264, kBlocks = 2;

inline nlohmann::json small_tokenizer() {
  nlohmann::json vocabulary = nlohmann::json::object();
  int id = 0;
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    append_byte_level(piece, std::string(1, static_cast<char>(byte)));
    vocabulary[piece] = id++;
  }
  vocabulary["he"] = id++;
  const nlohmann::json level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const nlohmann::json end = {{"id", id},        {"content", "<|end|>"}, {"single_word", false}, {"lstrip", false},
                              {"rstrip", false}, {"normalized", false},  {"special", true}};
  return {{"version", "1.0"},
          {"added_tokens", {end}},
          {"normalizer", nullptr},
          {"pre_tokenizer", level},
          {"post_processor", nullptr},
          {"decoder", level},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"h e"}}}}};
}

struct SmallTensor {
  std::string name;
  std::vector<int64_t> shape;
};

inline std::vector<SmallTensor> small_tensors() {
  std::vector<SmallTensor> tensors = {{"model.embed_tokens.weight", {kVocabulary, kHidden}}};
  for (int64_t block = 0; block < kBlocks; ++block) {
    const std::string b = "model.layers." + std::to_string(block) + ".";
    tensors.push_back({b + "self_attn.q_proj.weight", {64, kHidden}});
    tensors.push_back({b + "self_attn.k_proj.weight", {32, kHidden}});
    tensors.push_back({b + "self_attn.v_proj.weight", {32, kHidden}});
    tensors.push_back({b + "self_attn.o_proj.weight", {kHidden, 64}});
    tensors.push_back({b + "mlp.gate_proj.weight", {kInner, kHidden}});
    tensors.push_back({b + "mlp.up_proj.weight", {kInner, kHidden}});
    tensors.push_back({b + "mlp.down_proj.weight", {kHidden, kInner}});
    tensors.push_back({b + "input_layernorm.weight", {kHidden}});
    tensors.push_back({b + "post_attention_layernorm.weight", {kHidden}});
  }
  tensors.push_back({"model.norm.weight", {kHidden}});
  return tensors;
}

inline void make_small_model(const std::filesystem::path& folder, const SmallModel& wish = {}) {
  std::filesystem::create_directories(folder);
  nlohmann::json config = {{"architectures", {"LlamaForCausalLM"}},
                           {"model_type", wish.model_type},
                           {"hidden_size", kHidden},
                           {"intermediate_size", kInner},
                           {"num_hidden_layers", kBlocks},
                           {"num_attention_heads", 4},
                           {"num_key_value_heads", 2},
                           {"hidden_act", "silu"},
                           {"rms_norm_eps", 1e-5},
                           {"max_position_embeddings", 128},
                           {"vocab_size", kVocabulary},
                           {"tie_word_embeddings", true},
                           {"eos_token_id", 257}};
  const char* dtype = wish.dtype == Dtype::bf16 ? "bfloat16" : wish.dtype == Dtype::f16 ? "float16" : "float32";
  config[wish.new_config ? "dtype" : "torch_dtype"] = dtype;
  if (wish.new_config) {
    config["rope_parameters"] = {{"rope_theta", 10000.0}, {"rope_type", "default"}};
  } else {
    config["rope_theta"] = 10000.0;
  }
  const auto write = [&](const char* name, const std::string& text) { std::ofstream(folder / name) << text; };
  write("config.json", config.dump());
  write("generation_config.json", "{\"eos_token_id\": 257}");
  write("tokenizer.json", small_tokenizer().dump());
  write("tokenizer_config.json", "{\"eos_token\": \"<|end|>\"}");
  write("strange.dat", "carried along");
  write("LICENSE", "do what you like");
  write("report.json", "{\"of\": \"an earlier run\"}");
  write("README.md",
        "---\nlicense: apache-2.0\nlanguage:\n- en\n- de\ntags:\n- small\n- \"two words\"\nbase_model: "
        "someone/else\n---\n"
        "# The original\n\nIts card.\n");
  const CounterRandom random(wish.seed, "small model");
  uint64_t drawn = 0;
  std::vector<TensorSpec> specs;
  for (const SmallTensor& tensor : small_tensors()) specs.push_back({tensor.name, wish.dtype, tensor.shape});
  SafetensorsWriter writer(folder / "model.safetensors", specs);
  for (const SmallTensor& tensor : small_tensors()) {
    int64_t elements = 1;
    for (const int64_t dim : tensor.shape) elements *= dim;
    std::vector<float> values(static_cast<size_t>(elements));
    for (float& value : values) value = static_cast<float>(random.uniform(drawn++) - 0.5) * 0.2f;
    writer.write(tensor.name, std::get<Dense>(dense_weight(tensor.shape, wish.dtype, values).base).data.span());
  }
  writer.finish();
}

}  // namespace pare
