#include "pare/weights/encoder_names.h"

#include <gtest/gtest.h>

namespace pare {
namespace {

TEST(EncoderNames, AreThoseOfBertModelWhateverIsAroundIt) {
  EXPECT_EQ(encoder_name("bert.embeddings.LayerNorm.gamma"), "embeddings.LayerNorm.weight");
  EXPECT_EQ(encoder_name("bert.encoder.layer.3.output.LayerNorm.beta"), "encoder.layer.3.output.LayerNorm.bias");
  EXPECT_EQ(encoder_name("encoder.layer.3.output.dense.weight"), "encoder.layer.3.output.dense.weight");
  EXPECT_EQ(encoder_name("cls.predictions.bias"), "cls.predictions.bias");
}

ParameterInfo matrix(const char* name) {
  ParameterInfo info;
  info.name = name;
  info.shape = {4, 4};
  return info;
}

TEST(EncoderNames, LinearsOfBlocksAreFound) {
  const auto query = encoder_linear(matrix("bert.encoder.layer.12.attention.self.query.weight"));
  ASSERT_TRUE(query.has_value());
  EXPECT_EQ(query->kind, "q_proj");
  EXPECT_EQ(query->block, 12);
  EXPECT_EQ(encoder_linear(matrix("encoder.layer.0.attention.output.dense.weight"))->kind, "o_proj");
  EXPECT_EQ(encoder_linear(matrix("encoder.layer.0.output.dense.weight"))->kind, "down_proj");
  for (const char* other :
       {"encoder.layer.0.output.dense.bias", "encoder.layer..output.dense.weight",
        "encoder.layer.-1.output.dense.weight", "encoder.layer.0.output.weight", "encoder.layer.0.weight",
        "encoder.layer.weight", "encoder.layer.0", "pooler.dense.weight", "embeddings.word_embeddings.weight"}) {
    EXPECT_FALSE(encoder_linear(matrix(other)).has_value()) << other;
  }
}

}  // namespace
}  // namespace pare
