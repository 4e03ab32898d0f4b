// The runtime against the decoder's definition in double, which is itself held against transformers.
#include <gtest/gtest.h>

#include <cmath>

#include "pare/runtime/model.h"
#include "pare/runtime/reference_decoder.h"
#include "pare/weights/oracle_files.h"

namespace pare {
namespace {

const std::vector<std::string> kFamilies{
    "llama",         "smollm2", "llama_biases_linear", "llama3_rope", "mistral", "qwen2_yarn",
    "qwen2_sliding", "qwen3",   "qwen3_biases",        "smollm3",     "gemma2",  "gemma3",
    "gemma3_nested"};

template <class A, class B>
double relative_error(std::span<const A> a, std::span<const B> b) {
  double size = 0, difference = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    size = std::max(size, std::fabs(static_cast<double>(b[i])));
    difference = std::max(difference, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return difference / size;
}

// The oracle's sequences, one after the other.
struct Part {
  std::vector<int32_t> ids;
  std::span<const float> logits;  // of transformers
};
std::vector<Part> parts_of(const OracleFiles& oracle) {
  const auto length = static_cast<size_t>(oracle.ids_shape[1]), size = oracle.logits.size() / oracle.ids.size();
  std::vector<Part> parts;
  for (size_t at = 0; at < oracle.ids.size(); at += length) {
    const auto ids = std::span(oracle.ids).subspan(at, length);
    parts.push_back({{ids.begin(), ids.end()}, std::span(oracle.logits).subspan(at * size, length * size)});
  }
  return parts;
}

double runtime_error(const OracleFiles& oracle, CacheType cache, RoundedTo rounded) {
  ThreadPool pool({.threads = 2});
  Model model = Model::load(*oracle.files, {.cache = cache, .precision = Precision::f32}, pool);
  ReferenceDecoder definition(*oracle.files, rounded);
  double worst = 0;
  for (const Part& part : parts_of(oracle)) {
    const auto sequence = model.new_sequence();
    const SequenceStep step{sequence.get(), part.ids, static_cast<int64_t>(part.ids.size())};
    const std::vector<double> want = definition.logits(part.ids);
    worst = std::max(worst, relative_error(model.forward(std::span(&step, 1)), std::span(want)));
  }
  return worst;
}

class EachFamilyByDefinition : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Runtime, EachFamilyByDefinition, testing::ValuesIn(kFamilies),
                         [](const auto& info) { return info.param; });

TEST_P(EachFamilyByDefinition, IsThatOfTransformers) {
  const OracleFiles oracle(GetParam());
  ReferenceDecoder definition(*oracle.files, RoundedTo::nothing);
  for (const Part& part : parts_of(oracle)) {
    const std::vector<double> logits = definition.logits(part.ids);
    EXPECT_LT(relative_error(std::span(logits), part.logits), 1e-5);  // transformers sums in f32
  }
}

// int8 tells mistakes from rounding: below 2e-6 was seen. With f16 a key that lies halfway between two halves may go to
// the other one for being off by 1e-7, and is then off by 2^-11: up to an eighth of what the rounding does as a whole.
TEST_P(EachFamilyByDefinition, TheRuntimeDiffersByTheRoundingOfItsCacheAlone) {
  const OracleFiles oracle(GetParam());
  EXPECT_LT(runtime_error(oracle, CacheType::int8, RoundedTo::int8), 1e-5);
  const double rounding = runtime_error(oracle, CacheType::f16, RoundedTo::nothing);
  EXPECT_LT(runtime_error(oracle, CacheType::f16, RoundedTo::f16), rounding / 3);
  EXPECT_LT(rounding, 5e-3);
}

}  // namespace
}  // namespace pare
