#include "pare/weights/gguf_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/weights/decoder_config.h"

namespace pare {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json base_config(const char* model_type) {
  return {{"model_type", model_type},
          {"vocab_size", 100},
          {"hidden_size", 64},
          {"intermediate_size", 96},
          {"num_hidden_layers", 4},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"head_dim", 16},
          {"max_position_embeddings", 4096},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 500000.0},
          {"tie_word_embeddings", true},
          {"query_pre_attn_scalar", 16},
          {"rope_local_base_freq", 10000.0}};
}

// Written as GGUF metadata (with the tensors that the config shows itself in) and read back.
json through_gguf(const json& config) {
  const auto path = std::filesystem::temp_directory_path() / ("pare_gguf_model_" + std::to_string(getpid()) + ".gguf");
  std::vector<GgufTensorSpec> tensors{{"token_embd.weight", ggml_type_named("F16"), {100, 64}}};
  std::vector<std::pair<std::string, std::vector<std::byte>>> data{
      {"token_embd.weight", std::vector<std::byte>(12800)}};
  if (config.value("attention_bias", false)) {
    tensors.push_back({"blk.0.attn_output.bias", ggml_type_named("F32"), {64}});
    data.emplace_back("blk.0.attn_output.bias", std::vector<std::byte>(256));
  }
  if (const auto divisors = gguf_rope_freqs(config)) {
    const auto bytes = std::as_bytes(std::span(*divisors));
    tensors.push_back({"rope_freqs.weight", ggml_type_named("F32"), {static_cast<int64_t>(divisors->size())}});
    data.emplace_back("rope_freqs.weight", std::vector<std::byte>(bytes.begin(), bytes.end()));
  }
  GgufWriter writer(path, gguf_metadata_from_config(config), tensors);
  for (const auto& [name, bytes] : data) writer.write(name, bytes);
  writer.finish();
  const json back = config_from_gguf(GgufParts::open(path));
  std::filesystem::remove(path);
  return back;
}

std::string message_of(const json& config) {
  try {
    gguf_metadata_from_config(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(GgufModel, ConfigsOfEveryFamilySurviveTheWayThroughMetadata) {
  for (const char* type : {"llama", "qwen2", "qwen3", "smollm3", "gemma2", "gemma3_text"}) {
    SCOPED_TRACE(type);
    const json config = base_config(type);
    EXPECT_EQ(DecoderConfig::from_hf(through_gguf(config)), DecoderConfig::from_hf(config));
  }
  json biased = base_config("llama");
  biased["attention_bias"] = true;
  EXPECT_EQ(DecoderConfig::from_hf(through_gguf(biased)), DecoderConfig::from_hf(biased));
}

TEST(GgufModel, RopeScalingsSurviveTheWayThroughMetadata) {
  const std::vector<json> scalings{{{"rope_type", "linear"}, {"factor", 4.0}},
                                   {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 1024}},
                                   {{"rope_type", "yarn"},
                                    {"factor", 8.0},
                                    {"original_max_position_embeddings", 512},
                                    {"beta_fast", 16.0},
                                    {"beta_slow", 2.0}},
                                   {{"rope_type", "llama3"},
                                    {"factor", 8.0},
                                    {"low_freq_factor", 1.0},
                                    {"high_freq_factor", 4.0},
                                    {"original_max_position_embeddings", 8192}}};
  for (const json& scaling : scalings) {
    json config = base_config("llama");
    config["rope_scaling"] = scaling;
    // linear has no use for the original length, which from_hf fills in from max_position_embeddings
    EXPECT_EQ(DecoderConfig::from_hf(through_gguf(config)).rope, DecoderConfig::from_hf(config).rope) << scaling;
  }
}

TEST(GgufModel, MistralIsWrittenAsLlamaAndItsWindowIsWarnedOf) {
  json config = base_config("mistral");
  config["sliding_window"] = nullptr;
  EXPECT_EQ(through_gguf(config)["model_type"], "llama");
  EXPECT_TRUE(gguf_warnings(config).empty());
  config["sliding_window"] = 1024;
  EXPECT_THAT(gguf_warnings(config), testing::ElementsAre(HasSubstr("sliding window of 1024 tokens")));
}

TEST(GgufModel, WhatGgufCannotSayIsRefused) {
  json gemma = base_config("gemma2");
  gemma["query_pre_attn_scalar"] = 100;
  EXPECT_THAT(message_of(gemma), HasSubstr("no way to say this query_pre_attn_scalar"));
  json slides = base_config("gemma3_text");
  slides["sliding_window_pattern"] = 3;
  EXPECT_THAT(message_of(slides), HasSubstr("which layers slide"));
  json local = base_config("gemma3_text");
  local["rope_local_base_freq"] = 20000.0;
  EXPECT_THAT(message_of(local), HasSubstr("rope of the sliding layers"));
  json roped = base_config("smollm3");
  roped["no_rope_layers"] = {1, 1, 1, 1};
  EXPECT_THAT(message_of(roped), HasSubstr("which layers have no rope"));
  EXPECT_THAT(message_of(base_config("phi")), HasSubstr("\"phi\""));
}

TEST(GgufModel, NamesGoBothWays) {
  for (const char* architecture : {"llama", "qwen3", "gemma3"}) {
    GgufModel model;
    model.architecture = architecture;
    for (const char* name :
         {"token_embd.weight", "output_norm.weight", "output.weight", "blk.0.attn_q.weight", "blk.12.attn_k.bias",
          "blk.7.attn_output.weight", "blk.3.ffn_gate.weight", "blk.3.ffn_down.weight", "blk.3.attn_norm.weight",
          "blk.3.ffn_norm.weight", "blk.99.attn_q_norm.weight"}) {
      const auto hf = model.hf_name(name);
      ASSERT_TRUE(hf.has_value()) << name;
      EXPECT_EQ(model.gguf_name(*hf), name) << *hf;
    }
  }
  GgufModel gemma, llama;
  gemma.architecture = "gemma3";
  llama.architecture = "llama";
  EXPECT_EQ(llama.hf_name("blk.2.ffn_norm.weight"), "model.layers.2.post_attention_layernorm.weight");
  EXPECT_EQ(gemma.hf_name("blk.2.ffn_norm.weight"), "model.layers.2.pre_feedforward_layernorm.weight");
  EXPECT_EQ(gemma.hf_name("blk.2.post_attention_norm.weight"), "model.layers.2.post_attention_layernorm.weight");
  for (const char* odd : {"blk.-1.attn_q.weight", "blk..attn_q.weight", "blk.1x.attn_q.weight", "blk.1.attn_q",
                          "blk.1.weight", "blk.1.ffn_gate_exps.weight", "blk.99999999999.attn_q.weight", ""}) {
    EXPECT_FALSE(llama.hf_name(odd).has_value()) << odd;
  }
}

TEST(GgufModel, RowsGoBothWays) {
  const int64_t heads = 3, width = 10;
  std::vector<std::byte> rows(static_cast<size_t>(heads * width * 2));  // two bytes a row: its number, twice
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::byte>(i / 2);
  const std::vector<std::byte> hf = reorder_rows(rows, heads * width, heads, RowOrder::to_hf);
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t s = 0; s < 2; ++s) {
      for (int64_t i = 0; i < width / 2; ++i) {
        const size_t at = static_cast<size_t>(h * width + s * width / 2 + i);
        EXPECT_EQ(std::to_integer<int64_t>(hf[2 * at]), h * width + 2 * i + s);
        EXPECT_EQ(hf[2 * at + 1], hf[2 * at]);
      }
    }
  }
  EXPECT_EQ(reorder_rows(hf, heads * width, heads, RowOrder::to_gguf), rows);
  // the format page: head width 4, GGUF rows are Hugging Face rows 0, 2, 1, 3
  const std::vector<std::byte> four{std::byte{0}, std::byte{1}, std::byte{2}, std::byte{3}};
  EXPECT_EQ(reorder_rows(four, 4, 1, RowOrder::to_gguf),
            (std::vector<std::byte>{std::byte{0}, std::byte{2}, std::byte{1}, std::byte{3}}));
}

}  // namespace
}  // namespace pare
