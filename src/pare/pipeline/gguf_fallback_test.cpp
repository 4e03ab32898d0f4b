// What takes the place of types of 256, on numbers whose best type is known.
#include "pare/pipeline/gguf_fallback.h"

#include <gtest/gtest.h>

#include <cmath>

#include "pare/base/error.h"
#include "pare/base/random.h"
#include "pare/weights/encode/encode_rows.h"
#include "pare/weights/gguf_blocks.h"

namespace pare {
namespace {

constexpr int64_t kRows = 16, kCols = 576;

std::vector<float> normal_rows() {
  const CounterRandom random(1, "rows");
  std::vector<float> values(kRows * kCols);
  for (size_t i = 0; i < values.size(); ++i) {
    const double u = 1 - random.uniform(2 * i), v = random.uniform(2 * i + 1);
    values[i] = static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v));
  }
  return values;
}

std::string_view fallback(const char* wanted, const std::vector<float>& rows, int64_t cols = kCols) {
  return fallback_type(*ggml_type_named(wanted), rows, cols).name;
}

TEST(GgufFallback, OfNormalNumbersIsTheLeastErrorNearItsSize) {
  const std::vector<float> rows = normal_rows();
  EXPECT_EQ(fallback("Q4_K", rows, 512), "Q4_K");
  EXPECT_EQ(fallback("Q8_0", rows), "Q8_0");
  for (const char* four : {"Q4_K", "IQ4_XS"}) EXPECT_EQ(fallback(four, rows), "IQ4_NL") << four;
  for (const char* three : {"Q3_K", "Q2_K"})
    EXPECT_EQ(fallback(three, rows), "IQ4_NL") << three;  // Q2_0 is not as good
  for (const char* two : {"IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"}) EXPECT_EQ(fallback(two, rows), "Q2_0") << two;
  EXPECT_EQ(fallback("IQ1_S", rows, 96), "IQ4_NL");  // Q2_0 has blocks of 64
  EXPECT_EQ(fallback("Q5_K", rows), "Q5_1");
  EXPECT_EQ(fallback("Q6_K", rows), "Q8_0");  // none of its size is nearly as good
}

TEST(GgufFallback, OfNumbersOnAGridIsTheTypeThatHasIt) {
  const std::vector<float> rows = normal_rows();
  for (const char* name : {"Q4_0", "MXFP4", "Q5_0"}) {
    const GgmlType& type = *ggml_type_named(name);
    std::vector<std::byte> blocks(rows.size() / 32 * static_cast<size_t>(type.block_bytes));
    std::vector<float> on_grid(rows.size());
    encode_rows(type, rows, kCols, {}, blocks);
    decode_blocks(type, blocks, on_grid);
    EXPECT_EQ(fallback(name == std::string("Q5_0") ? "Q5_K" : "Q4_K", on_grid), name);
  }
}

TEST(GgufFallback, RowsThatNoBlockDividesAreNamed) {
  EXPECT_NO_THROW(require_blocks_of_32(64, "x"));
  EXPECT_THROW(require_blocks_of_32(40, "x"), UsageError);
}

}  // namespace
}  // namespace pare
