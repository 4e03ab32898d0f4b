#include "pare/curvature/output_fisher.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "pare/base/error.h"
#include "pare/nn/oracle_model.h"

namespace pare {
namespace {

std::vector<std::vector<int32_t>> windows_of(const OracleModel& model, int64_t count, int64_t length) {
  std::vector<std::vector<int32_t>> windows;
  for (int64_t w = 0; w < count; ++w) {
    auto& window = windows.emplace_back();
    for (int64_t i = 0; i < length; ++i) {
      const int64_t place = (w * 7 + i) % model.ids.numel();
      window.push_back(static_cast<int32_t>(model.ids.view({-1})[place].item<int64_t>()));
    }
  }
  return windows;
}

void expect_same(const OutputFisher& a, const OutputFisher& b) {
  ASSERT_EQ(a.of_outputs.size(), b.of_outputs.size());
  for (const auto& [name, values] : a.of_outputs) EXPECT_TRUE(at::equal(values, b.of_outputs.at(name))) << name;
  for (size_t i = 0; i < a.of_tokens.size(); ++i) {
    for (size_t stage = 0; stage < a.of_tokens[i].size(); ++stage) {
      EXPECT_TRUE(at::equal(a.of_tokens[i][stage], b.of_tokens[i][stage])) << i << " " << stage;
    }
  }
  EXPECT_TRUE(at::equal(a.of_embedding, b.of_embedding));
}

// log softmax of the logits after one token, [vocabulary] f64, with `step` added to one row of a linear of block 0.
at::Tensor prediction(const Decoder& decoder, int32_t token, const std::string& name, int64_t row, double step) {
  at::Tensor x = decoder.embed(at::full({1, 1}, token, at::kLong));
  for (int64_t i = 0; i < decoder.config().layers; ++i) {
    DecoderBlock block = decoder.block(i);
    if (i == 0) block.linear(name).weight[row].add_(step);
    x = block.forward(x);
  }
  return at::log_softmax(decoder.logits(x).view({-1}).to(at::kDouble), 0);
}

// The definition: of a small change in one output, KL = 1/2 F dy^2. With a single token there is nothing else.
TEST(OutputFisher, IsTheCurvatureOfTheKlDivergence) {
  for (const char* family : {"llama", "gemma2"}) {
    const OracleModel model(family);
    const Decoder decoder(*model.files);
    constexpr int32_t kToken = 3;
    const std::vector<std::vector<int32_t>> windows(1500, {kToken});
    const OutputFisher fisher = output_fisher(decoder, windows);
    DecoderBlock block = decoder.block(0);
    BlockState state = block.begin(decoder.embed(at::full({1, 1}, kToken, at::kLong)));
    for (size_t stage = 0; stage < block.stages().size(); ++stage) {
      const std::string name = block.stages()[stage].back();
      const at::Tensor& of_outputs = fisher.of_outputs.at(name);
      const int64_t row = of_outputs.argmax().item<int64_t>();
      const double step = 2e-3, change = step * state.input.sum(at::kDouble).item<double>();  // of the output
      const at::Tensor p = prediction(decoder, kToken, name, row, 0);
      double kl = 0;
      for (const double sign : {1.0, -1.0}) {
        kl += 0.5 * (p.exp() * (p - prediction(decoder, kToken, name, row, sign * step))).sum().item<double>();
      }
      const double expected = 0.5 * of_outputs[row].item<double>() * change * change;
      EXPECT_NEAR(kl, expected, 0.15 * expected) << family << " " << name;
      block.advance(state);
    }
  }
}

TEST(OutputFisher, TokensAndOutputsAddUpToTheSame) {
  const OracleModel model("qwen2_sliding");
  const Decoder decoder(*model.files);
  const OutputFisher fisher = output_fisher(decoder, windows_of(model, 3, 8));
  ASSERT_EQ(fisher.of_tokens.size(), static_cast<size_t>(decoder.config().layers));
  for (int64_t i = 0; i < decoder.config().layers; ++i) {
    const DecoderBlock block = decoder.block(i);
    for (size_t stage = 0; stage < block.stages().size(); ++stage) {
      double outputs = 0;
      for (const std::string& name : block.stages()[stage]) {
        outputs += fisher.of_outputs.at(name).sum().item<double>();
      }
      const at::Tensor& tokens = fisher.of_tokens[static_cast<size_t>(i)][stage];
      EXPECT_EQ(tokens.numel(), 24);
      EXPECT_GT(outputs, 0);
      EXPECT_NEAR(tokens.mean(at::kDouble).item<double>(), outputs, 1e-4 * outputs);
    }
  }
}

TEST(OutputFisher, SameBytesForAnyNumberOfThreadsAndAnyGroups) {
  const OracleModel model("gemma3");
  const Decoder decoder(*model.files);
  const auto windows = windows_of(model, 5, 9);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const OutputFisher one = output_fisher(decoder, windows);
  at::set_num_threads(4);
  const OutputFisher many = output_fisher(decoder, windows);
  OutputFisherOptions options;
  options.checkpoint_bytes = 1;  // a window at a time
  const OutputFisher grouped = output_fisher(decoder, windows, options);
  at::set_num_threads(before);
  expect_same(one, many);
  for (const auto& [name, values] : one.of_outputs) {
    EXPECT_TRUE(at::allclose(values, grouped.of_outputs.at(name), 1e-5)) << name;
  }
}

}  // namespace
}  // namespace pare
