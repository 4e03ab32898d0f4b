#include "pare/pipeline/run/calibrate.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/io/test_files.h"
#include "pare/nn/decoder.h"
#include "pare/nn/to_tensor.h"
#include "pare/pipeline/small_model_for_tests.h"
#include "pare/text/tokenizer.h"
#include "pare/weights/importance_matrix.h"

namespace pare {
namespace {

constexpr int64_t kWindows = 5, kLength = 24;

// A text of exactly kWindows windows, which all calibrate whatever the seed.
struct Calibrated {
  TemporaryFolder folder;
  CalibrateOptions options;
  at::Tensor ids;

  explicit Calibrated(const char* out) {
    set_log_level(Level::quiet);
    options.model = folder.path() / "model";
    make_small_model(options.model);
    std::string text;
    for (int i = 0; i < kWindows * kLength; ++i) text += static_cast<char>('i' + (i * i + i / 7) % 16);
    options.calibration = {{folder.write("text.txt", text)}, kWindows + 1, kLength};
    options.out = folder.path() / out;
    const auto tokens = Tokenizer::open(options.model).encode(text, false);
    ids = at::empty({kWindows, kLength}, at::kLong);
    if (tokens.size() != static_cast<size_t>(kWindows * kLength)) throw InputError("the test's text has other tokens");
    std::copy(tokens.begin(), tokens.end(), ids.mutable_data_ptr<int64_t>());
  }
};

void expect_close(const std::vector<float>& found, const at::Tensor& wanted, const char* what) {
  SCOPED_TRACE(what);
  ASSERT_EQ(static_cast<int64_t>(found.size()), wanted.numel());
  for (int64_t i = 0; i < wanted.numel(); ++i) {
    const double value = wanted[i].item<double>();
    EXPECT_NEAR(found[static_cast<size_t>(i)], value, 1e-4 * value) << i;  // products in fp32
  }
}

TEST(Calibrate, EntriesAreSumsOfSquaresOfWhatTheLinearsGet) {
  Calibrated run("imatrix.gguf");
  const CalibrateFigures figures = calibrate(run.options);
  EXPECT_EQ(figures.entries, 7 * kBlocks + 1);
  EXPECT_EQ(figures.tokens, kWindows * kLength);
  const ImportanceMatrix matrix = read_importance_matrix(run.options.out);
  EXPECT_EQ(matrix.chunks, kWindows);
  EXPECT_EQ(matrix.chunk_tokens, kLength);
  EXPECT_THAT(matrix.datasets, testing::ElementsAre("text.txt"));
  for (const auto& [name, entry] : matrix.entries) {
    EXPECT_THAT(entry.counts, testing::ElementsAre(kWindows * kLength)) << name;
  }

  const ModelFiles files = ModelFiles::open(run.options.model);
  const Decoder decoder(files);
  const auto squares = [](const at::Tensor& inputs) {
    return inputs.to(at::kDouble).pow(2).reshape({-1, inputs.size(-1)}).sum(0);
  };
  // q, k and v of the first block: its norm of the embedding, by the definition.
  const at::Tensor x = to_tensor(files.read("model.embed_tokens.weight")).to(at::kDouble).index({run.ids});
  const at::Tensor weight = to_tensor(files.read("model.layers.0.input_layernorm.weight")).to(at::kDouble);
  const at::Tensor first = squares(x / (x.pow(2).mean(-1, true) + 1e-5).sqrt() * weight);
  for (const char* name : {"attn_q", "attn_k", "attn_v"}) {
    expect_close(matrix.entries.at(std::string("blk.0.") + name + ".weight").sums, first, name);
  }
  // The embedding is the head, too: what the head multiplies.
  expect_close(matrix.entries.at("token_embd.weight").sums, squares(decoder.final_norm(decoder.hidden(run.ids))),
               "head");
  // down_proj of the last block: what it adds to the residual comes from its input, through the walk of one window.
  at::Tensor down = at::zeros({kInner}, at::kDouble);
  for (int64_t window = 0; window < kWindows; ++window) {
    BlockState state = decoder.block(1).begin(decoder.block(0).forward(decoder.embed(run.ids.narrow(0, window, 1))));
    while (state.stage < 3) decoder.block(1).advance(state);
    down += squares(state.input);
  }
  expect_close(matrix.entries.at("blk.1.ffn_down.weight").sums, down, "down");
}

TEST(Calibrate, TheNumberOfThreadsChangesNoByte) {
  Calibrated one("one.gguf"), two("two.gguf");
  one.options.threads = 1;
  two.options.threads = 2;
  calibrate(one.options);
  calibrate(two.options);
  EXPECT_EQ(read_whole(one.options.out), read_whole(two.options.out));
}

TEST(Calibrate, WhatIsThereIsNotWrittenOver) {
  Calibrated run("imatrix.gguf");
  run.folder.write("imatrix.gguf", "mine");
  EXPECT_THAT(message_of([&] { calibrate(run.options); }), testing::HasSubstr("exists already"));
  EXPECT_EQ(read_whole(run.options.out), "mine");
}

}  // namespace
}  // namespace pare
