#include "pare/pipeline/gguf_mix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pare/base/error.h"
#include "pare/weights/encode/encode_rows.h"

namespace pare {
namespace {

std::string type_of(const std::string& mix, const std::string& kind, int64_t layer, bool tied = true) {
  const MixPlace place{.kind = kind, .layer = layer, .layers = 30, .heads_per_kv = 3, .tied = tied};
  return std::string(type_in_mix(mix, place).name);
}

// What llama-quantize (of llama-cpp-python 0.3.36) writes for a model of 30 layers whose rows all blocks divide.
TEST(GgufMix, LaysTensorsOutAsItsPeer) {
  EXPECT_EQ(type_of("Q4_K_M", "up_proj", 5), "Q4_K");
  EXPECT_EQ(type_of("Q4_K_M", "v_proj", 0), "Q6_K");
  EXPECT_EQ(type_of("Q4_K_M", "down_proj", 3), "Q4_K");
  EXPECT_EQ(type_of("Q4_K_M", "down_proj", 5), "Q6_K");
  EXPECT_EQ(type_of("Q4_K_M", "down_proj", 29), "Q6_K");
  EXPECT_EQ(type_of("Q4_K_M", "embed", 0), "Q6_K");
  EXPECT_EQ(type_of("Q4_K_M", "embed", 0, /*tied=*/false), "Q4_K");
  EXPECT_EQ(type_of("Q4_K_S", "v_proj", 3), "Q5_K");
  EXPECT_EQ(type_of("Q4_K_S", "v_proj", 4), "Q4_K");
  EXPECT_EQ(type_of("Q3_K_M", "v_proj", 1), "Q5_K");
  EXPECT_EQ(type_of("Q3_K_M", "o_proj", 1), "Q4_K");
  EXPECT_EQ(type_of("Q3_K_S", "o_proj", 1), "Q3_K");
  EXPECT_EQ(type_of("Q2_K", "down_proj", 1), "Q3_K");
  EXPECT_EQ(type_of("Q8_0", "embed", 0), "Q8_0");
  EXPECT_EQ(type_of("Q3_K_M", "down_proj", 0), "Q5_K");
  EXPECT_EQ(type_of("Q3_K_M", "down_proj", 12), "Q4_K");
  EXPECT_EQ(type_of("IQ3_M", "down_proj", 2), "Q4_K");
  EXPECT_EQ(type_of("IQ3_M", "up_proj", 2), "IQ3_S");
  EXPECT_EQ(type_of("IQ3_XS", "up_proj", 2), "IQ3_S");
  EXPECT_EQ(type_of("IQ3_XS", "up_proj", 3), "IQ3_XXS");
  EXPECT_EQ(type_of("IQ3_XXS", "q_proj", 9), "IQ2_S");
  EXPECT_EQ(type_of("IQ3_XXS", "v_proj", 9), "IQ3_XXS");
  EXPECT_EQ(type_of("IQ3_XXS", "embed", 0), "Q5_K");
  EXPECT_EQ(type_of("IQ3_XXS", "embed", 0, /*tied=*/false), "IQ3_S");
  EXPECT_EQ(type_of("IQ2_M", "up_proj", 9), "IQ2_S");
  EXPECT_EQ(type_of("IQ2_S", "up_proj", 9), "IQ2_XS");  // the mix, not the type
  EXPECT_EQ(type_of("IQ2_S", "o_proj", 9), "IQ3_S");
  EXPECT_EQ(type_of("IQ2_XXS", "down_proj", 2), "Q2_K");
  EXPECT_EQ(type_of("IQ2_XXS", "down_proj", 3), "IQ2_XXS");
  EXPECT_EQ(type_of("IQ1_S", "o_proj", 3), "IQ2_XXS");
}

TEST(GgufMix, EveryNameHasTypesThatPareEncodes) {
  for (const std::string& name : mix_names()) {
    require_mix(name, "--type");
    for (const char* kind :
         {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "embed", "head"}) {
      for (int64_t layer = 0; layer < 30; ++layer) {
        EXPECT_TRUE(can_encode_rows(type_in_mix(name, {.kind = kind, .layer = layer, .layers = 30}))) << name;
      }
    }
  }
  EXPECT_THROW(require_mix("Q4_KM", "--type"), UsageError);
}

}  // namespace
}  // namespace pare
