// Norms, gates and rotations on every instruction set of this machine against their definitions in double.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "pare/base/random.h"
#include "pare/kernels/functions.h"
#include "pare/kernels/guarded_memory.h"

namespace pare {
namespace {

std::vector<float> random_values(int64_t count, double size, uint64_t seed) {
  const CounterRandom random(seed, "values");
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>((random.uniform(i) * 2 - 1) * size);
  return values;
}

class OnEachIsa : public testing::TestWithParam<Isa> {
 protected:
  const cpu::FunctionTable& functions = functions_of(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Vectors, OnEachIsa, testing::ValuesIn(usable_isas()),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(OnEachIsa, RmsNormIsItsDefinition) {
  for (int64_t n : {1, 15, 16, 17, 63, 576, 2048}) {
    const auto size = static_cast<size_t>(n);
    const std::vector<float> x = random_values(n, 3, 1), weight = random_values(n, 2, 2);
    Guarded values(size * 4), weights(size * 4);
    guard(values, x.data(), size);
    functions.rms_norm(values.as<float>(), guard(weights, weight.data(), size), n, 1e-5f, values.as<float>());
    double squares = 0;
    for (float v : x) squares += static_cast<double>(v) * v;
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
    for (size_t i = 0; i < size; ++i) {
      const double want = x[i] * inverse * weight[i];
      ASSERT_NEAR(values.as<float>()[i], want, 1e-6 * std::fabs(want) + 1e-12) << "n " << n << ", value " << i;
    }
  }
}

TEST_P(OnEachIsa, RmsNormOfZerosIsZeros) {
  std::vector<float> x(33, 0.0f), weight(33, 5.0f), y(33, 1.0f);
  functions.rms_norm(x.data(), weight.data(), 33, 1e-6f, y.data());
  EXPECT_EQ(y, x);
}

// e^x is good to 2 units in the last place; division and products add one each.
TEST_P(OnEachIsa, GatesAreTheirDefinitions) {
  for (bool gelu : {false, true}) {
    for (int64_t n : {1, 16, 31, 1536}) {
      for (double width : {0.01, 4.0, 40.0, 400.0}) {
        const auto size = static_cast<size_t>(n);
        const std::vector<float> gate = random_values(n, width, 3), up = random_values(n, 2, 4);
        Guarded gates(size * 4), ups(size * 4);
        guard(gates, gate.data(), size);
        functions.gated(gelu, gates.as<float>(), guard(ups, up.data(), size), n, gates.as<float>());
        for (size_t i = 0; i < size; ++i) {
          const double g = gate[i];
          // 0.5 (1 + tanh u) = 1 / (1 + e^-2u), which does not cancel where u is far below 0
          const double z = gelu ? 2 * std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g) : g;
          const double want = g / (1 + std::exp(-z)) * up[i];
          // e^-z multiplies what z is off by, a few units in its last place, by z
          const double relative = 8e-7 + (gelu ? 2e-7 * std::min(std::fabs(z), 90.0) : 0.0);
          ASSERT_NEAR(gates.as<float>()[i], want, relative * std::fabs(want) + 1e-34)
              << (gelu ? "gelu " : "silu ") << g << " times " << up[i];
        }
      }
    }
  }
}

TEST_P(OnEachIsa, GatesPassOnWhatIsNotFinite) {
  const float nan = std::nanf(""), infinite = INFINITY;
  for (bool gelu : {false, true}) {
    const std::vector<float> gate{nan, infinite, 1.0f, 1.0f}, up{1.0f, 1.0f, nan, infinite};
    std::vector<float> y(4);
    functions.gated(gelu, gate.data(), up.data(), 4, y.data());
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[2]));
    EXPECT_EQ(y[1], infinite);
    EXPECT_EQ(y[3], infinite);
  }
}

TEST_P(OnEachIsa, RotationsTurnPairsOfHalves) {
  for (int64_t half : {1, 8, 16, 20, 32, 64, 128}) {
    for (int64_t heads : {1, 3}) {
      const auto size = static_cast<size_t>(2 * half * heads), pairs = static_cast<size_t>(half);
      const std::vector<float> x = random_values(2 * half * heads, 3, 5), angle = random_values(half, 100, 6);
      std::vector<float> cosine(pairs), sine(pairs);
      for (size_t i = 0; i < pairs; ++i) {
        cosine[i] = std::cos(angle[i]);
        sine[i] = std::sin(angle[i]);
      }
      Guarded values(size * 4), cosines(pairs * 4), sines(pairs * 4);
      guard(values, x.data(), size);
      functions.rotate(values.as<float>(), guard(cosines, cosine.data(), pairs), guard(sines, sine.data(), pairs),
                       heads, half);
      for (size_t h = 0; h < size; h += 2 * pairs) {
        for (size_t i = 0; i < pairs; ++i) {
          const double a = x[h + i], b = x[h + pairs + i], c = cosine[i], s = sine[i];
          ASSERT_NEAR(values.as<float>()[h + i], a * c - b * s, 1e-6) << "half " << half << ", pair " << i;
          ASSERT_NEAR(values.as<float>()[h + pairs + i], b * c + a * s, 1e-6) << "half " << half << ", pair " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace pare
