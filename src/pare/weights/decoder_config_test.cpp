#include "pare/weights/decoder_config.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/json.h"

namespace pare {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// The least that a family needs; `changes` are merged over it (null removes a key, as RFC 7386 has it).
json config_of(const std::string& type, const json& changes = json::object()) {
  json config{{"model_type", type},       {"vocab_size", 100},      {"hidden_size", 64},
              {"intermediate_size", 128}, {"num_hidden_layers", 6}, {"num_attention_heads", 8},
              {"num_key_value_heads", 2}};
  config.merge_patch(changes);
  return config;
}

template <class E>
std::string refusal(const json& config) {
  try {
    DecoderConfig::from_hf(config);
  } catch (const E& error) {
    return error.what();
  }
  return "(taken)";
}

TEST(DecoderConfig, AbsentFieldsMeanWhatTransformersMeans) {
  const DecoderConfig c = DecoderConfig::from_hf(config_of("llama", {{"num_key_value_heads", nullptr}}));
  EXPECT_EQ(c.kv_heads, 8);
  EXPECT_EQ(c.head_dim, 8);
  EXPECT_DOUBLE_EQ(c.attention_scale, 1 / std::sqrt(8.0));
  EXPECT_FALSE(c.tied_embeddings);
  EXPECT_EQ(c.rope.theta, 10000);
  EXPECT_EQ(DecoderConfig::from_hf(config_of("smollm3")).rope.theta, 2e6);
  EXPECT_TRUE(DecoderConfig::from_hf(config_of("smollm3")).tied_embeddings);
  EXPECT_EQ(DecoderConfig::from_hf(config_of("qwen3")).head_dim, 128);
  EXPECT_EQ(DecoderConfig::from_hf(config_of("gemma2")).attention_softcap, 50);
}

TEST(DecoderConfig, BiasesFollowTheFamily) {
  EXPECT_TRUE(DecoderConfig::from_hf(config_of("qwen2")).attention_bias);
  EXPECT_FALSE(DecoderConfig::from_hf(config_of("qwen2")).output_bias);
  const DecoderConfig llama =
      DecoderConfig::from_hf(config_of("llama", {{"attention_bias", true}, {"mlp_bias", true}}));
  EXPECT_TRUE(llama.attention_bias && llama.output_bias && llama.mlp_bias);
  EXPECT_FALSE(DecoderConfig::from_hf(config_of("mistral", {{"attention_bias", true}})).attention_bias);
}

TEST(DecoderConfig, SlidingLayersFollowTheFamily) {
  using Layers = std::vector<bool>;
  EXPECT_EQ(DecoderConfig::from_hf(config_of("mistral", {{"sliding_window", 9}})).layer_is_sliding, Layers(6, true));
  json off = config_of("mistral");
  off["sliding_window"] = nullptr;
  EXPECT_EQ(DecoderConfig::from_hf(off).layer_is_sliding, Layers(6, false));
  const json qwen{{"sliding_window", 9}, {"max_window_layers", 4}};
  EXPECT_EQ(DecoderConfig::from_hf(config_of("qwen2", qwen)).layer_is_sliding, Layers(6, false));
  json used = qwen;
  used["use_sliding_window"] = true;
  EXPECT_EQ(DecoderConfig::from_hf(config_of("qwen2", used)).layer_is_sliding,
            (Layers{false, false, false, false, true, true}));
  EXPECT_EQ(DecoderConfig::from_hf(config_of("gemma2")).layer_is_sliding,
            (Layers{true, false, true, false, true, false}));
  EXPECT_EQ(DecoderConfig::from_hf(config_of("gemma3_text", {{"sliding_window_pattern", 3}})).layer_is_sliding,
            (Layers{true, true, false, true, true, false}));
  const json smol{{"use_sliding_window", true}, {"sliding_window", 5}, {"no_rope_layers", {1, 1, 0, 1, 0, 1}}};
  const DecoderConfig c = DecoderConfig::from_hf(config_of("smollm3", smol));
  EXPECT_EQ(c.layer_has_rope, (Layers{true, true, false, true, false, true}));
  EXPECT_EQ(c.layer_is_sliding, (Layers{false, false, true, false, true, false}));
}

TEST(DecoderConfig, Gemma3InItsWrapperLeavesOutWhatItsClassHas) {
  const DecoderConfig c = DecoderConfig::from_hf({{"model_type", "gemma3"},
                                                  {"text_config",
                                                   {{"model_type", "gemma3_text"},
                                                    {"hidden_size", 2560},
                                                    {"intermediate_size", 10240},
                                                    {"num_hidden_layers", 34},
                                                    {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
                                                    {"sliding_window", 1024}}}});
  EXPECT_EQ(c.vocab_size, 262208);
  EXPECT_EQ(c.heads, 8);
  EXPECT_EQ(c.kv_heads, 4);
  EXPECT_EQ(c.head_dim, 256);
  EXPECT_TRUE(c.tied_embeddings && c.qk_norm && c.norm_plus_one);
  EXPECT_EQ(c.rope.theta, 1e6);
  EXPECT_EQ(c.rope.scaling.factor, 8);
  EXPECT_EQ(c.local_rope.theta, 1e4);
  EXPECT_EQ(c.local_rope.scaling.type, RopeScaling::Type::none);
  EXPECT_EQ(c.attention_softcap, 0);
}

TEST(DecoderConfig, ReadsRopeOfBothGenerations) {
  const json scaling{{"rope_type", "llama3"},
                     {"factor", 8.0},
                     {"low_freq_factor", 1.0},
                     {"high_freq_factor", 4.0},
                     {"original_max_position_embeddings", 8192}};
  json parameters = scaling;
  parameters["rope_theta"] = 5e5;
  const DecoderConfig old_form =
      DecoderConfig::from_hf(config_of("llama", {{"rope_theta", 5e5}, {"rope_scaling", scaling}}));
  EXPECT_EQ(old_form, DecoderConfig::from_hf(config_of("llama", {{"rope_parameters", parameters}})));
  EXPECT_EQ(old_form.rope.scaling.original_max_positions, 8192);
  const DecoderConfig yarn = DecoderConfig::from_hf(
      config_of("qwen2", {{"rope_scaling", {{"type", "yarn"}, {"factor", 4.0}}}, {"max_position_embeddings", 512}}));
  EXPECT_EQ(yarn.rope.scaling.type, RopeScaling::Type::yarn);
  EXPECT_EQ(yarn.rope.scaling.original_max_positions, 512);
}

TEST(DecoderConfig, RefusesByNameWhatItDoesNotKnow) {
  EXPECT_THAT(refusal<UnsupportedError>(config_of("mamba")),
              AllOf(HasSubstr("mamba"), HasSubstr("llama"), HasSubstr("qwen3")));
  EXPECT_THAT(refusal<UnsupportedError>(json::object()), HasSubstr("model_type is missing"));
  for (const char* type : {"dynamic", "longrope", "su", "mrope"}) {
    EXPECT_THAT(refusal<UnsupportedError>(config_of("llama", {{"rope_scaling", {{"type", type}, {"factor", 2}}}})),
                AllOf(HasSubstr(type), HasSubstr("yarn")));
  }
  EXPECT_THAT(refusal<UnsupportedError>(config_of("llama", {{"hidden_act", "relu2"}})), HasSubstr("relu2"));
  EXPECT_THAT(refusal<UnsupportedError>(config_of("llama", {{"partial_rotary_factor", 0.5}})), HasSubstr("partial"));
  EXPECT_THAT(refusal<UnsupportedError>(config_of("gemma2", {{"use_bidirectional_attention", true}})),
              HasSubstr("bidirectional"));
  EXPECT_THAT(refusal<UnsupportedError>(config_of(
                  "qwen3", {{"use_sliding_window", true}, {"layer_types", json::array({"chunked", 1, 2, 3, 4, 5})}})),
              HasSubstr("chunked"));
}

TEST(DecoderConfig, NamesEveryFieldThatIsOutOfRange) {
  const std::vector<std::pair<const char*, json>> bad{
      {"vocab_size", 0},          {"vocab_size", -1},
      {"vocab_size", 1e30},       {"hidden_size", "64"},
      {"hidden_size", 64.5},      {"hidden_size", uint64_t{18446744073709551615u}},
      {"hidden_size", 1 << 30},   {"intermediate_size", json::array()},
      {"num_hidden_layers", 0},   {"num_hidden_layers", 1000000},
      {"num_attention_heads", 0}, {"num_key_value_heads", 3},
      {"num_key_value_heads", 0}, {"head_dim", 7},
      {"head_dim", -2},           {"rms_norm_eps", 0.0},
      {"rms_norm_eps", "x"},      {"rope_theta", -1.0},
      {"rope_scaling", 3},        {"tie_word_embeddings", 1},
      {"hidden_act", 5}};
  for (const auto& [key, value] : bad) {
    EXPECT_THAT(refusal<InputError>(config_of("llama", {{key, value}})), HasSubstr(key)) << value;
  }
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}) {
    EXPECT_THAT(refusal<InputError>(config_of("llama", {{key, nullptr}})), HasSubstr(key));
  }
  EXPECT_THAT(refusal<InputError>(config_of("llama", {{"hidden_size", 60}})), HasSubstr("not a multiple"));
  EXPECT_THAT(refusal<InputError>(config_of("llama", {{"rope_scaling", {{"rope_type", "linear"}}}})),
              HasSubstr("factor"));
  EXPECT_THAT(refusal<InputError>(config_of("smollm3", {{"no_rope_layers", {1, 0}}})), HasSubstr("no_rope_layers"));
  EXPECT_THAT(refusal<InputError>({{"model_type", "gemma3"}}), HasSubstr("text_config"));
  EXPECT_THAT(refusal<InputError>(json::array()), HasSubstr("object"));
}

}  // namespace
}  // namespace pare
