// Attention over the cache on every instruction set of this machine, against sums in double over what the cache holds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "pare/base/float_types.h"
#include "pare/base/random.h"
#include "pare/kernels/functions.h"
#include "pare/kernels/guarded_memory.h"

namespace pare {
namespace {

std::vector<float> random_values(int64_t count, double size, uint64_t seed) {
  const CounterRandom random(seed, "attention");
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>((random.uniform(i) * 2 - 1) * size);
  return values;
}

// A cache of just the positions that it holds, to whole 16s, filled by the kernels.
class Cache {
 public:
  Cache(const cpu::FunctionTable& functions, bool int8, int64_t dim, int64_t positions)
      : padded_((dim + 15) / 16 * 16),
        blocks_((positions + 15) / 16 * 16),
        keys_(static_cast<size_t>(blocks_ * dim * (int8 ? 1 : 2))),
        values_(static_cast<size_t>(blocks_ * padded_ * (int8 ? 1 : 2))),
        key_scales_(static_cast<size_t>(blocks_) * 4),
        value_scales_(static_cast<size_t>(blocks_) * 4) {
    all.int8 = int8;
    all.dim = dim;
    all.padded_dim = padded_;
    all.keys = keys_.as<uint8_t>();
    all.values = values_.as<uint8_t>();
    all.key_scales = key_scales_.as<float>();
    all.value_scales = value_scales_.as<float>();
    key_source = random_values(positions * dim, 2, 11);
    value_source = random_values(positions * dim, 3, 12);
    for (int64_t p = 0; p < positions; ++p) {
      functions.remember(all, p, key_source.data() + p * dim, value_source.data() + p * dim);
    }
  }
  double key(int64_t p, int64_t d) const {
    const int64_t at = p / 16 * 16 * all.dim + d * 16 + p % 16;
    return all.int8 ? static_cast<double>(all.key_scales[p]) * static_cast<int8_t>(all.keys[at]) : half(all.keys, at);
  }
  double value(int64_t p, int64_t d) const {
    const int64_t at = p * all.padded_dim + d;
    return all.int8 ? static_cast<double>(all.value_scales[p]) * static_cast<int8_t>(all.values[at])
                    : half(all.values, at);
  }

  cpu::KeyValues all;
  std::vector<float> key_source, value_source;

 private:
  static double half(const uint8_t* src, int64_t i) {
    uint16_t bits;
    std::memcpy(&bits, src + 2 * i, 2);
    return f16_to_float(bits);
  }
  int64_t padded_, blocks_;
  Guarded keys_, values_, key_scales_, value_scales_;
};

struct Case {
  bool int8;
  int64_t dim, heads, tokens, first, window;
  float softcap;
  std::string line() const {
    return std::string(int8 ? "int8" : "f16") + " dim " + std::to_string(dim) + " heads " + std::to_string(heads) +
           " tokens " + std::to_string(tokens) + " first " + std::to_string(first) + " window " +
           std::to_string(window) + " softcap " + std::to_string(softcap);
  }
};

// out [tokens][heads][dim] by the definition.
std::vector<double> expected(const Case& c, const Cache& cache, const std::vector<float>& queries, double scale) {
  std::vector<double> out(queries.size());
  for (int64_t row = 0; row < c.tokens * c.heads; ++row) {
    const int64_t position = c.first + row / c.heads;
    const int64_t from = c.window > 0 ? std::max<int64_t>(0, position - c.window + 1) : 0;
    std::vector<double> scores;
    for (int64_t p = from; p <= position; ++p) {
      double s = 0;
      for (int64_t d = 0; d < c.dim; ++d) s += queries[static_cast<size_t>(row * c.dim + d)] * cache.key(p, d);
      s *= scale;
      scores.push_back(c.softcap != 0 ? c.softcap * std::tanh(s / c.softcap) : s);
    }
    const double most = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& s : scores) sum += s = std::exp(s - most);
    for (int64_t p = from; p <= position; ++p) {
      for (int64_t d = 0; d < c.dim; ++d) {
        out[static_cast<size_t>(row * c.dim + d)] += scores[static_cast<size_t>(p - from)] / sum * cache.value(p, d);
      }
    }
  }
  return out;
}

cpu::AttentionTask task_of(const Case& c, const Cache& cache, const float* queries, float* out, double scale) {
  cpu::AttentionTask task;
  task.cache = cache.all;
  task.queries = queries;
  task.out = out;
  task.rows = c.tokens * c.heads;
  task.stride = c.dim;
  task.heads = c.heads;
  task.token_stride = c.heads * c.dim;
  task.first = c.first;
  task.window = c.window;
  task.scale = static_cast<float>(scale);
  task.softcap = c.softcap;
  return task;
}

class AttentionOn : public testing::TestWithParam<Isa> {
 protected:
  const cpu::FunctionTable& functions = functions_of(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Attention, AttentionOn, testing::ValuesIn(usable_isas()),
                         [](const auto& info) { return name_of(info.param); });

// Scores up to some 20, so that softmax is neither flat nor one position's; chunks of 256 begun, filled and passed.
TEST_P(AttentionOn, IsItsDefinition) {
  int64_t cases = 0;
  for (bool int8 : {false, true}) {
    for (int64_t dim : {2, 12, 64, 80, 128}) {
      for (const auto& [heads, tokens] : {std::pair<int64_t, int64_t>{1, 1}, {3, 1}, {8, 1}, {1, 32}, {3, 5}, {4, 8}}) {
        for (int64_t first : {0, 13, 250, 256, 530}) {
          for (int64_t window : {0, 1, 7, 260}) {
            const Case c{int8, dim, heads, tokens, first, window, (first + window) % 2 == 0 ? 0.0f : 15.0f};
            SCOPED_TRACE(c.line());
            const double scale = 4 / std::sqrt(static_cast<double>(dim));
            const Cache cache(functions, int8, dim, first + tokens);
            const std::vector<float> queries = random_values(tokens * heads * dim, 2, 13);
            Guarded source(queries.size() * 4), out(queries.size() * 4);
            Guarded room(static_cast<size_t>(cpu::attention_room((dim + 15) / 16 * 16)));
            functions.attend(task_of(c, cache, guard(source, queries.data(), queries.size()), out.as<float>(), scale),
                             room.as<uint8_t>());
            const std::vector<double> want = expected(c, cache, queries, scale);
            for (size_t i = 0; i < want.size(); ++i) {
              // values are up to 3; a score of 20 off by 2^-23 of itself moves its weight by 2e-6
              ASSERT_NEAR(out.as<float>()[i], want[i], 2e-5) << "number " << i;
            }
            ++cases;
          }
        }
      }
    }
  }
  EXPECT_EQ(cases, 2 * 5 * 6 * 5 * 4);
}

TEST_P(AttentionOn, ARowHasTheSameBitsAloneAndAmongOthers) {
  for (bool int8 : {false, true}) {
    for (int64_t window : {0, 40}) {
      const Case all{int8, 64, 4, 8, 251, window, 0};
      SCOPED_TRACE(all.line());
      const Cache cache(functions, int8, 64, 259);
      const std::vector<float> queries = random_values(8 * 4 * 64, 2, 14);
      std::vector<float> together(queries.size()), alone(queries.size());
      Guarded room(static_cast<size_t>(cpu::attention_room(64)));
      functions.attend(task_of(all, cache, queries.data(), together.data(), 0.5), room.as<uint8_t>());
      for (int64_t token = 0; token < 8; ++token) {
        for (int64_t head = 0; head < 4; ++head) {
          const Case one{int8, 64, 1, 1, 251 + token, window, 0};
          const int64_t at = (token * 4 + head) * 64;
          functions.attend(task_of(one, cache, queries.data() + at, alone.data() + at, 0.5), room.as<uint8_t>());
        }
      }
      EXPECT_EQ(std::memcmp(together.data(), alone.data(), alone.size() * 4), 0);
    }
  }
}

// Two positions with scores -x and 0 and values (1, 0) and (0, 1): what comes out is in the ratio e^-x. The kernel's
// exp may be off by 2 units in the last place, the two products with 1 / l by a half each.
TEST_P(AttentionOn, WeightsAreExponentialsToTheLastPlaces) {
  const std::vector<float> one{1, 0}, other{0, 1};
  const Case c{false, 2, 1, 1, 1, 0, 0};
  Cache cache(functions, false, 2, 2);
  functions.remember(cache.all, 0, one.data(), one.data());
  functions.remember(cache.all, 1, other.data(), other.data());
  Guarded room(static_cast<size_t>(cpu::attention_room(16)));
  double worst = 0;
  for (int i = 0; i < 20000; ++i) {
    const float x = static_cast<float>(i) * 0.00431f;  // to 86.2
    const std::vector<float> query{-x, 0};
    std::vector<float> out(2);
    functions.attend(task_of(c, cache, query.data(), out.data(), 1), room.as<uint8_t>());
    const double want = std::exp(-static_cast<double>(x));
    worst = std::max(worst, std::fabs(static_cast<double>(out[0]) / out[1] - want) / want);
  }
  EXPECT_LT(worst, 3 * 0x1p-23);
}

TEST_P(AttentionOn, TheCacheHoldsTheNearestThatItsTypeHas) {
  for (int64_t dim : {2, 17, 64}) {
    const Cache halves(functions, false, dim, 19), bytes(functions, true, dim, 19);
    for (int64_t p = 0; p < 19; ++p) {
      double largest_key = 0, largest_value = 0;
      for (int64_t d = 0; d < dim; ++d) {
        const auto at = static_cast<size_t>(p * dim + d);
        const float k = halves.key_source[at], v = halves.value_source[at];
        largest_key = std::max(largest_key, std::fabs(static_cast<double>(k)));
        largest_value = std::max(largest_value, std::fabs(static_cast<double>(v)));
        ASSERT_EQ(halves.key(p, d), f16_to_float(float_to_f16(k)));
        ASSERT_EQ(halves.value(p, d), f16_to_float(float_to_f16(v)));
      }
      for (int64_t d = 0; d < dim; ++d) {
        const auto at = static_cast<size_t>(p * dim + d);
        ASSERT_NEAR(bytes.key(p, d), bytes.key_source[at], 0.5001 * largest_key / 127);
        ASSERT_NEAR(bytes.value(p, d), bytes.value_source[at], 0.5001 * largest_value / 127);
      }
    }
  }
}

// Late positions may hold anything, also what is not a number: a token does not see them.
TEST_P(AttentionOn, TheFutureIsNotSeen) {
  for (bool int8 : {false, true}) {
    const Cache cache(functions, int8, 64, 40);
    const Case c{int8, 64, 2, 1, 20, 0, 0};
    const std::vector<float> queries = random_values(2 * 64, 2, 15);
    std::vector<float> before(queries.size()), after(queries.size());
    Guarded room(static_cast<size_t>(cpu::attention_room(64)));
    functions.attend(task_of(c, cache, queries.data(), before.data(), 1), room.as<uint8_t>());
    const std::vector<float> huge(64, int8 ? 1e30f : INFINITY);
    for (int64_t p = 21; p < 40; ++p) functions.remember(cache.all, p, huge.data(), huge.data());
    functions.attend(task_of(c, cache, queries.data(), after.data(), 1), room.as<uint8_t>());
    EXPECT_EQ(std::memcmp(before.data(), after.data(), after.size() * 4), 0);
  }
}

}  // namespace
}  // namespace pare
