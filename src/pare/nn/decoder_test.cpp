// The decoder against transformers on tiny random models of each family (tests/oracles/decoder_oracle.py).

#include "pare/nn/decoder.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/nn/oracle_model.h"
#include "pare/nn/to_tensor.h"

namespace pare {
namespace {

const std::vector<std::string> kCases{
    "llama",         "smollm2", "llama_biases_linear", "llama3_rope", "mistral", "qwen2_yarn",
    "qwen2_sliding", "qwen3",   "qwen3_biases",        "smollm3",     "gemma2",  "gemma3",
    "gemma3_nested"};

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

at::Tensor all_logits(const OracleModel& model, at::ScalarType dtype = at::kFloat) {
  const Decoder decoder(*model.files, dtype);
  return decoder.logits(decoder.hidden(model.ids));
}

class EachFamily : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Decoder, EachFamily, testing::ValuesIn(kCases), [](const auto& info) { return info.param; });

TEST_P(EachFamily, LogitsAreThoseOfTransformers) {
  const OracleModel model(GetParam());
  // f32 sums in another order; 1e-4 is the promise, what is seen is below 3e-6
  EXPECT_LT(relative_error(all_logits(model), model.logits), 2e-5);
}

TEST_P(EachFamily, ConfigOfTransformers4MeansTheSame) {
  const OracleModel new_form(GetParam()), old_form(GetParam(), "config_v4");
  EXPECT_EQ(DecoderConfig::from_hf(new_form.files->config()), DecoderConfig::from_hf(old_form.files->config()));
}

TEST_P(EachFamily, StagesGiveWhatForwardGives) {
  const OracleModel model(GetParam());
  const Decoder decoder(*model.files);
  at::Tensor x = decoder.embed(model.ids);
  for (int64_t i = 0; i < decoder.config().layers; ++i) {
    const DecoderBlock block = decoder.block(i);
    const at::Tensor before = x.clone();
    BlockState state = block.begin(x);
    while (state.stage < block.stages().size()) block.advance(state);
    EXPECT_FALSE(state.input.defined());
    EXPECT_TRUE(at::equal(x, before)) << "begin and advance changed the caller's x";
    EXPECT_LT(relative_error(block.forward(x), state.residual), 1e-6);
    EXPECT_TRUE(at::equal(x, before)) << "forward changed the caller's x";
    x = state.residual;
  }
}

TEST_P(EachFamily, RecordedGivesWhatForwardGives) {
  const OracleModel model(GetParam());
  const Decoder decoder(*model.files);
  at::Tensor x = decoder.embed(model.ids);
  for (int64_t i = 0; i < decoder.config().layers; ++i) {
    const DecoderBlock block = decoder.block(i);
    std::map<std::string, at::Tensor> outputs;
    const at::Tensor expected = block.forward(x), recorded = block.recorded(x, outputs);
    EXPECT_LT(relative_error(recorded, expected), 1e-5);
    for (const std::string& name : block.linear_names()) EXPECT_EQ(outputs.count(name), 1u) << name;
    x = expected;
  }
  EXPECT_LT(relative_error(decoder.recorded_final_norm(x), decoder.final_norm(x)), 1e-5);
}

// A step of a linear's weights changes a sum over the block's output by what the recorded gradient says.
TEST_P(EachFamily, RecordedGradientsAreThoseOfTheForward) {
  const OracleModel model(GetParam());
  const Decoder decoder(*model.files);
  DecoderBlock block = decoder.block(0);
  const at::Tensor x = decoder.embed(model.ids);
  const at::Tensor direction = at::sin(at::arange(x.numel(), at::kFloat)).view(x.sizes());
  const auto value = [&] { return (block.forward(x).to(at::kDouble) * direction).sum().item<double>(); };
  std::map<std::string, at::Tensor> outputs;
  {
    const at::AutoGradMode recording(true);
    const at::Tensor result = block.recorded(x.detach().clone().requires_grad_(true), outputs);
    for (auto& [name, output] : outputs) output.retain_grad();
    result.backward(direction);
  }
  BlockState state = block.begin(x);
  while (state.stage < block.stages().size()) {
    for (const std::string& name : block.stages()[state.stage]) {
      Linear& linear = block.linear(name);
      const at::Tensor original = linear.weight;
      const at::Tensor step = at::cos(at::arange(original.numel(), at::kFloat) * 1.7).view(original.sizes()) *
                              (0.002 * original.norm() / std::sqrt(static_cast<double>(original.numel())));
      const double expected = (outputs.at(name).grad() * at::linear(state.input, step)).sum(at::kDouble).item<double>();
      linear.weight = original + step;
      const double above = value();
      linear.weight = original - step;
      const double below = value();
      linear.weight = original;
      EXPECT_NEAR((above - below) / 2, expected, 0.02 * std::abs(expected) + 2e-4) << name;
    }
    block.advance(state);
  }
}

TEST_P(EachFamily, StageInputsAreWhatTheLinearsOfThatStageMultiply) {
  const OracleModel model(GetParam());
  const Decoder decoder(*model.files);
  DecoderBlock block = decoder.block(0);
  BlockState state = block.begin(decoder.embed(model.ids));
  while (state.stage < block.stages().size()) {
    for (const std::string& name : block.stages()[state.stage]) {
      EXPECT_EQ(block.linear(name).weight.size(1), state.input.size(-1)) << name;
      EXPECT_NE(model.files->find(name + ".weight"), nullptr) << name;
    }
    block.advance(state);
  }
}

TEST_P(EachFamily, ASequenceDoesNotDependOnTheOthersInItsBatch) {
  const OracleModel model(GetParam());
  const Decoder decoder(*model.files);
  const at::Tensor alone = decoder.logits(decoder.hidden(model.ids.narrow(0, 1, 1)));
  EXPECT_LT(relative_error(alone, model.logits.narrow(0, 1, 1)), 2e-5);
}

TEST_P(EachFamily, TheFutureDoesNotChangeThePast) {
  const OracleModel model(GetParam());
  const Decoder decoder(*model.files);
  const int64_t length = model.ids.size(1) - 4;
  const at::Tensor shorter = decoder.logits(decoder.hidden(model.ids.narrow(1, 0, length)));
  EXPECT_LT(relative_error(shorter, model.logits.narrow(1, 0, length)), 2e-5);
}

TEST_P(EachFamily, Bf16IsClose) {
  const OracleModel model(GetParam());
  const at::Tensor logits = all_logits(model, at::kBFloat16);
  // 8 bits of mantissa through 2 to 4 layers
  EXPECT_LT((logits - model.logits).norm().item<double>() / model.logits.norm().item<double>(), 0.03);
}

TEST(Decoder, SameBytesOnOneAndManyThreads) {
  for (const char* name : {"llama", "gemma2", "mistral"}) {
    const OracleModel model(name);
    const Decoder decoder(*model.files);
    const at::Tensor ids = model.ids.repeat({15, 3}).slice(1, 0, 41);  // 30 sequences of 41: some pieces cut across
    const int threads = at::get_num_threads();
    at::set_num_threads(1);
    const at::Tensor one = decoder.hidden(ids);
    at::set_num_threads(3);
    EXPECT_TRUE(at::equal(one, decoder.hidden(ids))) << name;
    at::set_num_threads(threads);
  }
}

TEST(Decoder, AHeldHeadGivesTheSameLogits) {
  const OracleModel model("llama");
  Decoder decoder(*model.files);
  const at::Tensor hidden = decoder.hidden(model.ids);
  const at::Tensor streamed = decoder.logits(hidden);
  decoder.hold_head();
  EXPECT_TRUE(at::equal(streamed, decoder.logits(hidden)));
}

template <class E>
std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const E& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

TEST(Decoder, NamesATensorThatIsMissing) {
  const OracleModel model("llama", "config", {.leave_out = "model.layers.1.mlp.up_proj.weight"});
  EXPECT_NE(message_of<InputError>([&] { Decoder decoder(*model.files); }).find("model.layers.1.mlp.up_proj.weight"),
            std::string::npos);
}

TEST(Decoder, NamesATensorOfAnotherShapeThanConfigSays) {
  const OracleModel model("llama", "config", {.config_changes = {{"intermediate_size", 48}}});
  const std::string message = message_of<InputError>([&] { Decoder decoder(*model.files); });
  EXPECT_NE(message.find("mlp.gate_proj.weight has shape [40, 36]"), std::string::npos) << message;
  EXPECT_NE(message.find("[48, 36]"), std::string::npos) << message;
}

TEST(Decoder, NamesABiasThatConfigDenies) {
  const OracleModel model("llama_biases_linear", "config", {.config_changes = {{"mlp_bias", false}}});
  EXPECT_NE(message_of<InputError>([&] { Decoder decoder(*model.files); }).find("mlp.gate_proj.bias"),
            std::string::npos);
}

TEST(Decoder, NamesTheTensorWithAValueThatIsNotFinite) {
  const OracleModel model("llama", "config", {.poison = "model.layers.1.mlp.down_proj.weight"});
  const Decoder decoder(*model.files);
  const std::string message = message_of<InputError>([&] { decoder.hidden(model.ids); });
  EXPECT_NE(message.find("model.layers.1.mlp.down_proj.weight: value nan at row 0, column 0"), std::string::npos)
      << message;
}

TEST(Decoder, RefusesATokenThatTheModelDoesNotHave) {
  const OracleModel model("llama");
  const Decoder decoder(*model.files);
  EXPECT_NE(message_of<InputError>([&] {
              decoder.embed(at::full({1, 1}, 53, at::kLong));
            }).find("53"),
            std::string::npos);
}

}  // namespace
}  // namespace pare
