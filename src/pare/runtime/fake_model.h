// A language model for tests: its logits are a hash of all tokens so far, so that any mistake with states, positions or
// prefixes shows, and it counts and checks what is asked of it.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <set>
#include <thread>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/random.h"
#include "pare/runtime/language_model.h"

namespace pare {

class FakeModel : public LanguageModel {
 public:
  // What the model gives after these tokens, [vocab]; by default random logits by their hash.
  using Script = std::function<std::vector<float>(std::span<const int32_t>)>;
  static constexpr uint64_t kBytesPerToken = 100;

  explicit FakeModel(int64_t vocab = 256, int64_t context = 128) : vocab_(vocab), context_(context) {
    script = [this](std::span<const int32_t> tokens) { return random_row(tokens, vocab_); };
  }

  Script script;
  std::chrono::microseconds pass_time{0};
  std::function<void(std::span<const Step>)> before_pass;  // may throw, as a model without memory does
  std::function<void()> before_state;                      // the same
  // Counted over all passes.
  std::atomic<int64_t> passes = 0, tokens = 0, largest_pass = 0, most_steps = 0, states_alive = 0, peak_tokens = 0;

  int64_t vocab_size() const override { return vocab_; }
  int64_t hidden_size() const override { return 8; }
  int64_t context() const override { return context_; }
  uint64_t bytes_of(int64_t tokens) const override { return static_cast<uint64_t>(tokens) * kBytesPerToken; }
  std::unique_ptr<State> new_state() const override {
    if (before_state) before_state();
    return std::make_unique<FakeState>(this);
  }
  std::span<const float> logits(std::span<const Step> steps) override {
    return run(steps, [&](std::span<const int32_t> so_far) { return script(so_far); });
  }
  std::span<const float> hidden(std::span<const Step> steps) override {
    return run(steps, [](std::span<const int32_t> so_far) { return random_row(so_far, 8); });
  }

  static std::vector<float> random_row(std::span<const int32_t> so_far, int64_t size) {
    uint64_t hash = 1;
    for (int32_t token : so_far) hash = mix64(hash ^ static_cast<uint64_t>(token));
    const CounterRandom random(hash, "fake model");
    std::vector<float> row(static_cast<size_t>(size));
    for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(8 * random.uniform(i));
    return row;
  }

 private:
  class FakeState : public State {
   public:
    explicit FakeState(const FakeModel* model) : model_(*model) { ++alive(); }
    ~FakeState() override {
      --alive();
      add(-length());
    }
    int64_t length() const override { return static_cast<int64_t>(held.size()); }
    void truncate(int64_t length) override {
      PARE_ASSERT(length <= this->length());
      add(length - this->length());
      held.resize(static_cast<size_t>(length));
    }
    std::unique_ptr<State> fork(int64_t length) const override {
      PARE_ASSERT(length <= this->length());
      auto copy = std::make_unique<FakeState>(&model_);
      copy->append(std::span(held).first(static_cast<size_t>(length)));
      return copy;
    }
    uint64_t bytes() const override { return held.size() * kBytesPerToken; }
    void append(std::span<const int32_t> tokens) {
      held.insert(held.end(), tokens.begin(), tokens.end());
      add(static_cast<int64_t>(tokens.size()));
    }
    std::vector<int32_t> held;

   private:
    std::atomic<int64_t>& alive() const { return const_cast<FakeModel&>(model_).states_alive; }
    void add(int64_t count) const {
      auto& model = const_cast<FakeModel&>(model_);
      const int64_t now = model.held_tokens_ += count;
      model.peak_tokens = std::max<int64_t>(model.peak_tokens, now);
    }
    const FakeModel& model_;
  };

  template <class Row>
  std::span<const float> run(std::span<const Step> steps, const Row& row) {
    if (before_pass) before_pass(steps);
    std::this_thread::sleep_for(pass_time);
    rows_.clear();
    std::set<State*> seen;
    int64_t count = 0;
    for (const Step& step : steps) {
      auto& state = static_cast<FakeState&>(*step.state);
      const auto size = static_cast<int64_t>(step.tokens.size());
      PARE_ASSERT(seen.insert(step.state).second && size > 0 && step.wanted >= 0 && step.wanted <= size);
      PARE_ASSERT(state.length() + size <= context_);
      count += size;
      for (int64_t i = 0; i < size; ++i) {
        state.append(step.tokens.subspan(static_cast<size_t>(i), 1));
        if (i < size - step.wanted) continue;
        const auto values = row(state.held);
        rows_.insert(rows_.end(), values.begin(), values.end());
      }
    }
    ++passes;
    tokens += count;
    largest_pass = std::max<int64_t>(largest_pass, count);
    most_steps = std::max<int64_t>(most_steps, static_cast<int64_t>(steps.size()));
    return rows_;
  }

  int64_t vocab_, context_;
  std::vector<float> rows_;
  std::atomic<int64_t> held_tokens_ = 0;
};

}  // namespace pare
