#include "pare/runtime/language_model.h"

#include <vector>

#include "pare/runtime/sequence.h"

namespace pare {
namespace {

class RealState : public LanguageModel::State {
 public:
  explicit RealState(std::unique_ptr<Sequence> sequence) : sequence_(std::move(sequence)) {}
  int64_t length() const override { return sequence_->length(); }
  void truncate(int64_t length) override { sequence_->truncate(length); }
  std::unique_ptr<State> fork(int64_t length) const override {
    return std::make_unique<RealState>(sequence_->fork(length));
  }
  uint64_t bytes() const override { return sequence_->bytes(); }
  Sequence* sequence() { return sequence_.get(); }

 private:
  std::unique_ptr<Sequence> sequence_;
};

class RealModel : public LanguageModel {
 public:
  explicit RealModel(Model& model) : model_(model), cache_(model.new_sequence()->impl().shape) {}
  int64_t vocab_size() const override { return model_.vocab_size(); }
  int64_t hidden_size() const override { return model_.config().hidden; }
  int64_t context() const override { return model_.context(); }
  uint64_t bytes_of(int64_t tokens) const override { return cache_.bytes(tokens); }
  std::unique_ptr<State> new_state() const override { return std::make_unique<RealState>(model_.new_sequence()); }
  std::span<const float> logits(std::span<const Step> steps) override { return model_.forward(translate(steps)); }
  std::span<const float> hidden(std::span<const Step> steps) override { return model_.hidden(translate(steps)); }

 private:
  std::span<const SequenceStep> translate(std::span<const Step> steps) {
    steps_.clear();
    for (const Step& step : steps) {
      steps_.push_back({static_cast<RealState*>(step.state)->sequence(), step.tokens, step.wanted});
    }
    return steps_;
  }

  Model& model_;
  const CacheShape cache_;
  std::vector<SequenceStep> steps_;
};

}  // namespace

std::unique_ptr<LanguageModel> as_language_model(Model& model) {
  return std::make_unique<RealModel>(model);
}

}  // namespace pare
