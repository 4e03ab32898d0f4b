// The torch-free runtime against transformers, and against itself: whatever goes along, in whatever pieces, a sequence
// gets the same bits.
#include "pare/runtime/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "pare/base/error.h"
#include "pare/text/tokenizer.h"
#include "pare/weights/oracle_files.h"

namespace pare {
namespace {

const std::vector<std::string> kCases{
    "llama",         "smollm2", "llama_biases_linear", "llama3_rope", "mistral", "qwen2_yarn",
    "qwen2_sliding", "qwen3",   "qwen3_biases",        "smollm3",     "gemma2",  "gemma3",
    "gemma3_nested"};

std::vector<int32_t> row_of(const OracleFiles& oracle, int64_t row) {
  const int64_t length = oracle.ids_shape[1];
  const auto* first = oracle.ids.data() + row * length;
  return {first, first + length};
}

std::vector<float> forward(Model& model, std::initializer_list<SequenceStep> steps) {
  const auto logits = model.forward(std::span(steps.begin(), steps.size()));
  return {logits.begin(), logits.end()};
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  double size = 0, difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    size = std::max(size, std::fabs(static_cast<double>(b[i])));
    difference = std::max(difference, std::fabs(static_cast<double>(a[i]) - b[i]));
  }
  return difference / size;
}

class EachFamily : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Runtime, EachFamily, testing::ValuesIn(kCases), [](const auto& info) { return info.param; });

TEST_P(EachFamily, LogitsAreThoseOfTransformers) {
  const OracleFiles oracle(GetParam());
  ThreadPool pool({.threads = 2});
  Model model = Model::load(*oracle.files, {.precision = Precision::f32}, pool);
  const auto size = static_cast<size_t>(oracle.logits_shape[1] * oracle.logits_shape[2]);
  for (int64_t row = 0; row < oracle.ids_shape[0]; ++row) {
    const auto sequence = model.new_sequence();
    const std::vector<int32_t> ids = row_of(oracle, row);
    const auto logits = forward(model, {{sequence.get(), ids, static_cast<int64_t>(ids.size())}});
    // keys and values are f16 in the cache: 2^-11 each, and yarn makes scores larger; reference_test.cpp takes that out
    EXPECT_LT(largest_difference(logits, std::span(oracle.logits).subspan(static_cast<size_t>(row) * size, size)),
              4e-3);
  }
}

TEST_P(EachFamily, TokenByTokenGivesTheBitsOfAllAtOnce) {
  const OracleFiles oracle(GetParam());
  for (CacheType cache : {CacheType::f16, CacheType::int8}) {
    ThreadPool pool({.threads = 2});
    Model model = Model::load(*oracle.files, {.cache = cache, .batch = 7}, pool);
    const std::vector<int32_t> ids = row_of(oracle, 0);
    const auto whole = model.new_sequence(), single = model.new_sequence();
    const auto all = forward(model, {{whole.get(), ids, static_cast<int64_t>(ids.size())}});
    const auto vocab = static_cast<size_t>(model.vocab_size());
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto one = forward(model, {{single.get(), std::span(ids).subspan(i, 1), 1}});
      ASSERT_TRUE(same_bits(one, std::span(all).subspan(i * vocab, vocab))) << "token " << i;
    }
  }
}

TEST_P(EachFamily, ASequenceDoesNotDependOnTheOthersNorOnThreads) {
  const OracleFiles oracle(GetParam());
  std::vector<float> want;
  for (int threads : {1, 3}) {
    ThreadPool pool({.threads = threads});
    Model model = Model::load(*oracle.files, {}, pool);
    const std::vector<int32_t> a = row_of(oracle, 0), b = row_of(oracle, oracle.ids_shape[0] - 1);
    const auto alone = model.new_sequence(), among = model.new_sequence(), other = model.new_sequence();
    const auto one = forward(model, {{alone.get(), a, 1}});
    const auto both = forward(model, {{other.get(), std::span(b).first(3), 2}, {among.get(), a, 1}});
    const auto vocab = static_cast<size_t>(model.vocab_size());
    ASSERT_EQ(both.size(), 3 * vocab);
    EXPECT_TRUE(same_bits(std::span(both).subspan(2 * vocab), one));
    if (want.empty()) want = one;
    EXPECT_TRUE(same_bits(one, want)) << threads << " threads";
  }
}

TEST(Model, GoesOnFromAForkAndForgetsWhatIsTruncated) {
  const OracleFiles oracle(kCases[0]);
  ThreadPool pool({.threads = 2});
  for (CacheType cache : {CacheType::f16, CacheType::int8}) {
    Model model = Model::load(*oracle.files, {.cache = cache}, pool);
    const std::vector<int32_t> ids = row_of(oracle, 0);
    const auto whole = model.new_sequence();
    const auto want = forward(model, {{whole.get(), ids, 1}});
    const auto fork = whole->fork(5);
    EXPECT_EQ(fork->length(), 5);
    EXPECT_TRUE(same_bits(forward(model, {{fork.get(), std::span(ids).subspan(5), 1}}), want));
    const std::vector<int32_t> others{1, 2, 3};
    whole->truncate(5);
    forward(model, {{whole.get(), others, 0}});
    whole->truncate(5);
    EXPECT_TRUE(same_bits(forward(model, {{whole.get(), std::span(ids).subspan(5), 1}}), want));
  }
}

TEST(Model, RefusesWhatDoesNotFitAndChangesNothing) {
  const OracleFiles oracle(kCases[0]);
  ThreadPool pool({.threads = 1});
  Model model = Model::load(*oracle.files, {.context = 8}, pool);
  const auto sequence = model.new_sequence();
  const std::vector<int32_t> nine(9, 1), bad{1, 100000};
  EXPECT_THROW(forward(model, {{sequence.get(), nine, 1}}), InputError);
  EXPECT_THROW(forward(model, {{sequence.get(), bad, 1}}), InputError);
  EXPECT_EQ(sequence->length(), 0);
  EXPECT_THROW(Model::load(*oracle.files, {.context = int64_t{1} << 40}, pool), UsageError);
}

TEST(Model, Int8ActivationsAndCacheStayClose) {
  const OracleFiles oracle(kCases[0]);
  ThreadPool pool({.threads = 2});
  Model exact = Model::load(*oracle.files, {.precision = Precision::f32}, pool);
  Model model = Model::load(*oracle.files, {.cache = CacheType::int8}, pool);
  const std::vector<int32_t> ids = row_of(oracle, 0);
  const auto a = exact.new_sequence(), b = model.new_sequence();
  // dense weights take x in f32; what is left is the cache's half of a 127th
  EXPECT_LT(largest_difference(forward(model, {{b.get(), ids, 1}}), forward(exact, {{a.get(), ids, 1}})), 0.03);
}

// Mean KL divergence, nats a token, of the second model's next-token distributions from the first's.
double divergence(Model& first, Model& second, const std::vector<int32_t>& ids) {
  const auto a = first.new_sequence(), b = second.new_sequence();
  const auto count = static_cast<int64_t>(ids.size());
  const auto p = forward(first, {{a.get(), ids, count}}), q = forward(second, {{b.get(), ids, count}});
  const auto vocab = static_cast<size_t>(first.vocab_size());
  double sum = 0;
  for (size_t row = 0; row < ids.size(); ++row) {
    const float* x = p.data() + row * vocab;
    const float* y = q.data() + row * vocab;
    const auto log_sum = [&](const float* logits) {
      const double most = *std::max_element(logits, logits + vocab);
      double total = 0;
      for (size_t i = 0; i < vocab; ++i) total += std::exp(logits[i] - most);
      return most + std::log(total);
    };
    const double lx = log_sum(x), ly = log_sum(y);
    for (size_t i = 0; i < vocab; ++i) sum += std::exp(x[i] - lx) * ((x[i] - lx) - (y[i] - ly));
  }
  return sum / static_cast<double>(ids.size());
}

TEST(Model, Int8ActivationsCostLittleOnARealModel) {
  const char* path = std::getenv("PARE_TEST_GGUF");
  if (path == nullptr) GTEST_SKIP() << "PARE_TEST_GGUF is not set";
  ThreadPool pool;
  const ModelFiles files = ModelFiles::open(path);
  Model exact = Model::load(files, {.precision = Precision::f32}, pool);
  std::ifstream text(std::filesystem::path(PARE_SOURCE_DIR) / "tests/oracles/perplexity/text.txt");
  const std::string words((std::istreambuf_iterator<char>(text)), std::istreambuf_iterator<char>());
  std::vector<int32_t> ids = Tokenizer::open(path).encode(words);
  ids.resize(std::min<size_t>(ids.size(), 300));
  Model int8 = Model::load(files, {}, pool), small_cache = Model::load(files, {.cache = CacheType::int8}, pool);
  const double cost = divergence(exact, int8, ids), with_cache = divergence(exact, small_cache, ids);
  printf("KL of int8 activations %.5f, of an int8 cache as well %.5f\n", cost, with_cache);
  EXPECT_LT(cost, 0.01);
  EXPECT_LT(with_cache, 0.02);
}

}  // namespace
}  // namespace pare
