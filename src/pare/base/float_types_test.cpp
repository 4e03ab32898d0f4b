#include "pare/base/float_types.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace pare {
namespace {

TEST(FloatTypes, EveryF16SurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = f16_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_f16(value), bits) << bits;
  }
}

TEST(FloatTypes, F16RoundsHalfToEvenAgainstTheCompilersOwnConversion) {
  for (uint32_t i = 0; i < 2'000'000; ++i) {
    const float value = std::bit_cast<float>(i * 2147u);
    if (std::isnan(value)) continue;
    const _Float16 expected = static_cast<_Float16>(value);
    ASSERT_EQ(float_to_f16(value), std::bit_cast<uint16_t>(expected)) << std::hexfloat << value;
  }
}

TEST(FloatTypes, Bf16RoundsHalfToEven) {
  EXPECT_EQ(float_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(float_to_bf16(1.00390625f), 0x3f80);
  EXPECT_EQ(float_to_bf16(1.01171875f), 0x3f82);
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::numeric_limits<float>::quiet_NaN()))));
}

}  // namespace
}  // namespace pare
