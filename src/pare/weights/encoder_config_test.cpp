#include "pare/weights/encoder_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/io/test_files.h"
#include "pare/weights/decoder_config.h"
#include "pare/weights/gguf_model.h"

namespace pare {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json small_config() {
  return {{"model_type", "bert"},          {"vocab_size", 40},       {"hidden_size", 64},
          {"intermediate_size", 96},       {"num_hidden_layers", 2}, {"num_attention_heads", 4},
          {"max_position_embeddings", 48}, {"type_vocab_size", 2},   {"layer_norm_eps", 1e-12},
          {"hidden_act", "gelu"}};
}

template <class Call>
std::pair<Exit, std::string> error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {Exit::ok, "(no error)"};
}

TEST(EncoderConfig, DefaultsAreThoseOfBertBase) {
  const EncoderConfig c = EncoderConfig::from_hf({{"model_type", "bert"}});
  EXPECT_EQ(c.vocab_size, 30522);
  EXPECT_EQ(c.hidden, 768);
  EXPECT_EQ(c.intermediate, 3072);
  EXPECT_EQ(c.layers, 12);
  EXPECT_EQ(c.heads, 12);
  EXPECT_EQ(c.max_positions, 512);
  EXPECT_EQ(c.token_types, 2);
  EXPECT_EQ(c.norm_eps, 1e-12);
}

TEST(EncoderConfig, EachWayToBeAnotherModelHasItsError) {
  struct Case {
    const char* key;
    json value;
    Exit code;
    const char* message;
  };
  const Case cases[] = {
      {"model_type", "roberta", Exit::unsupported, "model_type \"roberta\" is not supported in an encoder"},
      {"position_embedding_type", "relative_key", Exit::unsupported, "position_embedding_type \"relative_key\""},
      {"hidden_act", "relu", Exit::unsupported, "hidden_act \"relu\""},
      {"is_decoder", true, Exit::unsupported, "is_decoder"},
      {"add_cross_attention", true, Exit::unsupported, "add_cross_attention"},
      {"num_attention_heads", 5, Exit::bad_input, "hidden_size 64 is not a multiple of num_attention_heads 5"},
      {"hidden_size", "wide", Exit::bad_input, "hidden_size is \"wide\", expected an integer"},
      {"num_hidden_layers", 0, Exit::bad_input, "num_hidden_layers is 0"},
      {"type_vocab_size", -1, Exit::bad_input, "type_vocab_size is -1"},
      {"layer_norm_eps", 0, Exit::bad_input, "layer_norm_eps is 0"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.key);
    json config = small_config();
    config[one.key] = one.value;
    const auto [code, message] = error_of([&] { EncoderConfig::from_hf(config); });
    EXPECT_EQ(code, one.code);
    EXPECT_THAT(message, HasSubstr(one.message));
  }
}

TEST(EncoderConfig, DecodersSayThatItIsAnEncoder) {
  const auto [code, message] = error_of([] { DecoderConfig::from_hf(small_config()); });
  EXPECT_EQ(code, Exit::unsupported);
  EXPECT_THAT(message, HasSubstr("\"bert\", an encoder"));
}

// Metadata in a file with an embedding, as small as can be.
class EncoderInGguf : public testing::Test {
 protected:
  std::filesystem::path write(const GgufMetadata& metadata) const {
    const GgufTensorSpec embedding{"token_embd.weight", ggml_type_named("F16"), {40, 64}};
    const std::filesystem::path path = folder_.path() / "encoder.gguf";
    std::filesystem::remove(path);
    GgufWriter writer(path, metadata, {embedding});
    writer.write(embedding.name, std::vector<std::byte>(40 * 64 * 2));
    writer.finish();
    return path;
  }
  static GgufMetadata changed(const std::string& key, std::optional<GgufValue> value) {
    GgufMetadata metadata = gguf_metadata_from_config(small_config());
    std::erase_if(metadata, [&](const auto& entry) { return entry.first == key; });
    if (value) metadata.emplace_back(key, *value);
    return metadata;
  }
  TemporaryFolder folder_;
};

TEST_F(EncoderInGguf, ConfigSurvivesTheWayThroughMetadata) {
  const json back = config_from_gguf(GgufParts::open(write(gguf_metadata_from_config(small_config()))));
  EXPECT_EQ(EncoderConfig::from_hf(back), EncoderConfig::from_hf(small_config()));
  EXPECT_EQ(back["architectures"], json({"BertModel"}));
  EXPECT_EQ(back["torch_dtype"], "float16");
}

TEST_F(EncoderInGguf, EachWayToBeDamagedHasItsError) {
  struct Case {
    const char* key;
    std::optional<GgufValue> value;
    Exit code;
    const char* message;
  };
  const Case cases[] = {
      {"bert.attention.causal", true, Exit::unsupported, "attention.causal is not false"},
      {"bert.attention.causal", std::nullopt, Exit::unsupported, "attention.causal is not false"},
      {"bert.attention.head_count_kv", uint64_t{2}, Exit::unsupported, "head_count_kv is not head_count"},
      {"bert.attention.head_count", uint64_t{0}, Exit::bad_input, "make no sense"},
      {"bert.block_count", std::nullopt, Exit::bad_input, "bert.block_count"},
      {"bert.context_length", std::string("long"), Exit::bad_input, "bert.context_length is not an integer"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.key);
    const auto path = write(changed(one.key, one.value));
    const auto [code, message] = error_of([&] { config_from_gguf(GgufParts::open(path)); });
    EXPECT_EQ(code, one.code);
    EXPECT_THAT(message, HasSubstr(one.message));
  }
}

TEST(EncoderNames, OfFoldersAndOfGgufAreOneToOne) {
  const GgufModel model = GgufModel::of_config(small_config());
  const std::pair<const char*, const char*> names[] = {
      {"embeddings.word_embeddings.weight", "token_embd.weight"},
      {"embeddings.position_embeddings.weight", "position_embd.weight"},
      {"embeddings.token_type_embeddings.weight", "token_types.weight"},
      {"embeddings.LayerNorm.bias", "token_embd_norm.bias"},
      {"encoder.layer.11.attention.self.query.weight", "blk.11.attn_q.weight"},
      {"encoder.layer.0.attention.self.key.bias", "blk.0.attn_k.bias"},
      {"encoder.layer.0.attention.self.value.bias", "blk.0.attn_v.bias"},
      {"encoder.layer.0.attention.output.dense.weight", "blk.0.attn_output.weight"},
      {"encoder.layer.0.attention.output.LayerNorm.weight", "blk.0.attn_output_norm.weight"},
      {"encoder.layer.0.intermediate.dense.weight", "blk.0.ffn_up.weight"},
      {"encoder.layer.0.output.dense.weight", "blk.0.ffn_down.weight"},
      {"encoder.layer.0.output.LayerNorm.weight", "blk.0.layer_output_norm.weight"}};
  for (const auto& [hf, gguf] : names) {
    EXPECT_EQ(model.gguf_name(hf), gguf);
    EXPECT_EQ(model.hf_name(gguf), hf);
  }
  for (const char* other : {"pooler.dense.weight", "cls.predictions.bias", "model.embed_tokens.weight"}) {
    EXPECT_EQ(model.gguf_name(other), std::nullopt);
  }
}

}  // namespace
}  // namespace pare
