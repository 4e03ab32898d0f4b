#include "pare/kernels/tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "pare/base/random.h"
#include "pare/kernels/cost_model.h"
#include "pare/kernels/test_weights.h"
#include "pare/kernels/tune.h"

namespace pare {
namespace {

std::vector<float> products(const Matrix& matrix, int64_t tokens, ThreadPool& pool) {
  const CounterRandom random(5, "activations");
  std::vector<float> x(static_cast<size_t>(tokens * matrix.cols())), y(static_cast<size_t>(tokens * matrix.rows()));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random.uniform(i) * 2 - 1);
  Activations rows(matrix.cols(), Precision::int8);
  rows.assign(x.data(), tokens, matrix.cols(), pool);
  multiply(matrix, rows, y.data(), matrix.rows(), pool);
  return y;
}

TEST(Tuning, EveryVariantGivesTheSameBytes) {
  ThreadPool pool({.threads = 2});
  for (const std::string& kind : weight_kinds()) {
    Matrix matrix = Matrix::prepare(random_weight(kind, 83, 512, 11), pool);
    for (int64_t tokens : {1, 2, 3, 7, 8, 13, 29}) {
      matrix.set_variants({});
      const std::vector<float> want = products(matrix, tokens, pool);
      for (const cpu::Variant& how : {cpu::Variant{0, 2, false, 4, 1}, cpu::Variant{512, 2, true, 2, 1 << 12},
                                      cpu::Variant{8192, 1, false, 8, 1 << 22}}) {
        Variants variants;
        variants.of_class.fill(how);
        matrix.set_variants(variants);
        const std::vector<float> found = products(matrix, tokens, pool);
        ASSERT_EQ(std::memcmp(found.data(), want.data(), want.size() * 4), 0) << kind << ", " << tokens << " tokens";
      }
    }
  }
}

TEST(Tuning, TakesAMeasuredVariantAndLeavesTheResultAsItWas) {
  ThreadPool pool({.threads = 2});
  const MachineSpeed speed{2, 20e9, 60e9, 200e9, 4e9, 16 << 20, 1 << 20};
  std::vector<Matrix> copies{Matrix::prepare(random_weight("int4", 64, 512, 3), pool),
                             Matrix::prepare(random_weight("int4", 64, 512, 3), pool)};
  const std::vector<float> want = products(copies[0], 9, pool);
  const std::vector<Trial> trials = tune(copies, speed, {.best = 2, .seconds = 0.001}, pool);
  for (int64_t tokens : {1, 8, 256}) {
    int measured = 0, taken = 0, built_in = 0;
    double fastest = 1e9, of_taken = 0;
    for (const Trial& trial : trials) {
      if (trial.tokens != tokens) continue;
      EXPECT_GT(trial.predicted, 0);
      built_in += trial.built_in ? 1 : 0;
      if (trial.measured == 0) continue;
      ++measured;
      fastest = std::min(fastest, trial.measured);
      if (!trial.taken) continue;
      ++taken;
      of_taken = trial.measured;
      EXPECT_EQ(copies[1].variants().of(tokens), trial.how);
    }
    EXPECT_EQ(taken, 1);
    EXPECT_EQ(built_in, 1);
    EXPECT_GE(measured, 2);
    EXPECT_LE(measured, 3);  // the best two, and the one built in
    EXPECT_LE(of_taken, 1.02 * fastest);
  }
  EXPECT_EQ(products(copies[0], 9, pool), want);
}

TEST(Tuning, ModelCountsBytesInstructionsAndWhatCachesHold) {
  ThreadPool pool({.threads = 1});
  const MachineSpeed speed{1, 10e9, 30e9, 100e9, 2e9, 6 << 20, 4 << 20};
  const Matrix int4 = Matrix::prepare(random_weight("int4", 256, 4096, 3), pool),
               int8 = Matrix::prepare(random_weight("int8", 256, 4096, 3), pool),
               f16 = Matrix::prepare(random_weight("F16", 256, 4096, 3), pool),
               sparse = Matrix::prepare(random_weight("F16-mask", 256, 4096, 3), pool);
  const cpu::Variant usual;
  cpu::Variant unasked = usual, wide = usual, narrow = usual, by_memory = usual;
  unasked.fetch_ahead = 0;
  wide.span_bytes = int64_t{1} << 30;
  narrow.span_bytes = 1;
  by_memory.in_registers = false;
  const auto seconds = [&](const Matrix& matrix, int64_t tokens, const cpu::Variant& how) {
    return predicted_seconds(matrix, tokens, how, speed);
  };
  EXPECT_GE(seconds(int8, 1, usual), static_cast<double>(int8.bytes()) / speed.memory);  // never faster than memory
  EXPECT_LT(seconds(int4, 1, usual), seconds(int8, 1, usual));
  EXPECT_LT(seconds(sparse, 1, usual), seconds(f16, 1, usual));
  EXPECT_LT(seconds(int4, 1, usual), seconds(int4, 1, unasked));
  EXPECT_LT(seconds(int4, 4, usual), seconds(int4, 4, by_memory));
  EXPECT_LT(seconds(int4, 512, usual), seconds(int4, 512, narrow));  // weights read again and again
  EXPECT_LT(seconds(f16, 512, usual), seconds(f16, 512, wide));      // activations that no cache holds
}

class TuningFile : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("pare-tuning-" + std::to_string(::getpid()));
  const std::filesystem::path file_ = folder_ / "below" / "tuning.json";
};

TEST_F(TuningFile, KeepsWhatWasFoundForAProductAndNumberOfThreads) {
  TuningTable table;
  Variants found;
  found.of_class[0] = {1024, 2, false, 4, 1 << 18};
  table.set({"panels of 4-bit codes, groups of 32", 4096, 576, 2}, found);
  table.save(file_);
  const TuningTable loaded = TuningTable::load(file_);
  EXPECT_EQ(loaded.size(), 1u);
  EXPECT_EQ(loaded.find({"panels of 4-bit codes, groups of 32", 4096, 576, 2}), found);
  EXPECT_EQ(loaded.find({"panels of 4-bit codes, groups of 32", 4096, 576, 1}), Variants{});
}

TEST_F(TuningFile, OfAnotherMachineOrDamagedCountsAsNone) {
  TuningTable table;
  table.set({"rows of F16", 16, 16, 1}, {});
  table.save(file_);
  std::ifstream in(file_);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const auto loaded = [&](const std::string& changed) {
    std::ofstream(file_) << changed;
    return TuningTable::load(file_).size();
  };
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return changed.replace(at, from.size(), to);
  };
  EXPECT_EQ(loaded(text), 1u);
  EXPECT_EQ(loaded(with("\"cpu\": \"", "\"cpu\": \"another ")), 0u);
  EXPECT_EQ(loaded(text.substr(0, text.size() / 2)), 0u);
  EXPECT_EQ(loaded(with("\"panels\": 2", "\"panels\": 17")), 0u);
  EXPECT_EQ(loaded(with("\"fetch_ahead\": 4096", "\"fetch_ahead\": -5")), 0u);
  EXPECT_EQ(loaded(with("\"span_bytes\": 1048576", "\"span_bytes\": 0")), 0u);
  EXPECT_EQ(loaded(""), 0u);
  EXPECT_EQ(TuningTable::load(folder_ / "nothing").size(), 0u);
}

}  // namespace
}  // namespace pare
