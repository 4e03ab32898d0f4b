#include "pare/pipeline/run/evaluate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/random.h"
#include "pare/nn/decoder.h"
#include "pare/nn/oracle_model.h"

namespace pare {
namespace {

Windows random_windows(size_t count, size_t length, int64_t vocab, uint64_t seed) {
  const CounterRandom random(seed, "windows");
  Windows windows(count, std::vector<int32_t>(length));
  uint64_t index = 0;
  for (auto& window : windows) {
    for (int32_t& id : window) id = static_cast<int32_t>(random.below(index++, static_cast<uint64_t>(vocab)));
  }
  return windows;
}

// Every predicted token's nll and KL from whole logits in f64.
struct Dense {
  std::vector<double> nll, kl, same;
};
Dense dense_figures(const ModelFiles& model, const ModelFiles& original, const Windows& windows) {
  const Decoder a(model), b(original);
  Dense result;
  for (const auto& window : windows) {
    const at::Tensor ids = at::empty({1, static_cast<int64_t>(window.size())}, at::kLong);
    std::copy(window.begin(), window.end(), ids.mutable_data_ptr<int64_t>());
    const at::Tensor logq = at::log_softmax(a.logits(a.hidden(ids)).to(at::kDouble), -1)[0];
    const at::Tensor logp = at::log_softmax(b.logits(b.hidden(ids)).to(at::kDouble), -1)[0];
    for (int64_t t = 0; t + 1 < ids.size(1); ++t) {
      result.nll.push_back(-logq[t][ids[0][t + 1]].item<double>());
      result.kl.push_back((logp[t].exp() * (logp[t] - logq[t])).sum().item<double>());
      result.same.push_back(logq[t].argmax().item<int64_t>() == logp[t].argmax().item<int64_t>() ? 1 : 0);
    }
  }
  return result;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// The original with its weights changed a little.
nlohmann::json another_theta() {
  return {{"rope_parameters", {{"rope_theta", 100.0}}}};
}

TEST(Evaluate, AgreesWithWholeLogitsInDoublePrecision) {
  const OracleModel original("llama"), model("llama", "config", {.config_changes = another_theta()});
  const Windows windows = random_windows(9, 17, 53, 1);
  const Dense dense = dense_figures(*model.files, *original.files, windows);
  for (const auto& [vocab_piece, token_piece] : {std::pair<int64_t, int64_t>{2048, 128}, {7, 5}, {53, 1}, {52, 16}}) {
    SCOPED_TRACE("pieces of " + std::to_string(vocab_piece) + " x " + std::to_string(token_piece));
    const EvaluationOptions options{.vocab_piece = vocab_piece, .token_piece = token_piece};
    const Evaluation e = evaluate(*model.files, *original.files, windows, options);
    EXPECT_NEAR(e.perplexity, std::exp(mean(dense.nll)), 1e-5 * e.perplexity);
    EXPECT_NEAR(*e.kl, mean(dense.kl), 1e-6);
    EXPECT_DOUBLE_EQ(*e.top1, mean(dense.same));
    EXPECT_GT(*e.kl, 1e-3) << "the two models should differ for this test to say something";
    EXPECT_EQ(e.tokens, 9 * 17);
    EXPECT_EQ(e.predicted, 9 * 16);
    EXPECT_EQ(e.length, 17);
    const Evaluation alone = evaluate(*model.files, windows, options);
    EXPECT_DOUBLE_EQ(alone.perplexity, e.perplexity);
    EXPECT_FALSE(alone.kl.has_value());
    EXPECT_DOUBLE_EQ(evaluate(*original.files, windows, options).perplexity, *e.against_perplexity);
  }
}

TEST(Evaluate, AModelAgainstItselfIsExactlyEqual) {
  const OracleModel model("gemma2");
  const Evaluation e = evaluate(*model.files, *model.files, random_windows(3, 12, 53, 2), {.vocab_piece = 10});
  EXPECT_EQ(*e.kl, 0);
  EXPECT_EQ(*e.kl_stderr, 0);
  EXPECT_EQ(*e.top1, 1);
  EXPECT_EQ(e.perplexity, *e.against_perplexity);
}

TEST(Evaluate, AReferenceGivesTheSameAsBothModelsAtOnce) {
  const OracleModel original("llama"), model("llama", "config", {.config_changes = another_theta()});
  const Windows windows = random_windows(5, 14, 53, 3);
  const EvaluationReference reference(*original.files, windows);
  const Evaluation a = evaluate(*model.files, reference), b = evaluate(*model.files, *original.files, windows);
  EXPECT_DOUBLE_EQ(a.perplexity, b.perplexity);
  EXPECT_DOUBLE_EQ(*a.kl, *b.kl);
  EXPECT_DOUBLE_EQ(*a.against_perplexity, *b.against_perplexity);
}

TEST(Evaluate, FewerHiddenStatesInMemoryGiveTheSameFigures) {
  const OracleModel model("llama");
  const Windows windows = random_windows(10, 15, 53, 4);
  const Evaluation whole = evaluate(*model.files, windows);
  const Evaluation parts = evaluate(*model.files, windows, {.hidden_bytes = 3 * 15 * 36 * 4});
  EXPECT_NEAR(parts.perplexity, whole.perplexity, 1e-6 * whole.perplexity);
  EXPECT_NEAR(parts.perplexity_stderr, whole.perplexity_stderr, 1e-6 * whole.perplexity);
}

TEST(Evaluate, StandardErrorIsOfTheMeansOfWindows) {
  const OracleModel model("llama");
  const Windows windows = random_windows(12, 9, 53, 5);
  const Dense dense = dense_figures(*model.files, *model.files, windows);
  std::vector<double> means;
  for (size_t i = 0; i < dense.nll.size(); i += 8)
    means.push_back(mean({dense.nll.begin() + i, dense.nll.begin() + i + 8}));
  double spread = 0;
  for (double m : means) spread += (m - mean(means)) * (m - mean(means));
  const Evaluation e = evaluate(*model.files, windows);
  EXPECT_TRUE(e.stderr_over_windows);
  EXPECT_NEAR(e.perplexity_stderr, e.perplexity * std::sqrt(spread / 11 / 12), 1e-4 * e.perplexity_stderr);
  EXPECT_FALSE(evaluate(*model.files, random_windows(7, 9, 53, 5)).stderr_over_windows);
}

TEST(Evaluate, WindowsMayDifferInLength) {
  const OracleModel model("llama");
  Windows windows = random_windows(3, 11, 53, 6);
  windows.push_back({1, 2, 3});
  const Dense dense = dense_figures(*model.files, *model.files, windows);
  const Evaluation e = evaluate(*model.files, windows);
  EXPECT_NEAR(e.perplexity, std::exp(mean(dense.nll)), 1e-5 * e.perplexity);
  EXPECT_EQ(e.predicted, 3 * 10 + 2);
}

TEST(Evaluate, SaysWhatItCannotDo) {
  const OracleModel model("llama");
  EXPECT_THROW(evaluate(*model.files, Windows{}), InputError);
  EXPECT_THROW(evaluate(*model.files, Windows{{1}}), InputError);
  EXPECT_THROW(evaluate(*model.files, Windows{{1, 53}}), InputError);
}

TEST(Evaluate, ProgressEndsAtOne) {
  const OracleModel model("llama");
  double last = 0;
  const EvaluationOptions options{
      .hidden_bytes = 40 * 36 * 4, .vocab_piece = 9, .progress = [&](double done, std::string_view) {
        EXPECT_GE(done, last);
        last = done;
      }};
  evaluate(*model.files, *model.files, random_windows(4, 20, 53, 7), options);
  EXPECT_NEAR(last, 1, 1e-9);
}

}  // namespace
}  // namespace pare
