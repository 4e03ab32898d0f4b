#include "pare/nn/generate.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/base/random.h"

namespace pare {
namespace {

// By inversion of the distribution function, summed in token order in double: one draw, no dependence on threads.
int32_t draw(const float* logits, int64_t vocab, double temperature, double uniform) {
  const float* best = std::max_element(logits, logits + vocab);
  if (temperature <= 0) return static_cast<int32_t>(best - logits);
  double total = 0;
  for (int64_t i = 0; i < vocab; ++i) total += std::exp((logits[i] - *best) / temperature);
  double left = uniform * total;
  for (int64_t i = 0; i < vocab; ++i) {
    left -= std::exp((logits[i] - *best) / temperature);
    if (left < 0) return static_cast<int32_t>(i);
  }
  return static_cast<int32_t>(best - logits);
}

class Batch {
 public:
  Batch(const Decoder& decoder, const std::vector<DecoderBlock>& blocks, std::vector<std::vector<int32_t>>& texts,
        size_t first, size_t count, int64_t length)
      : decoder_(decoder), blocks_(blocks), texts_(texts), first_(first), count_(count) {
    for (const DecoderBlock& block : blocks) caches_.push_back(block.make_cache(static_cast<int64_t>(count), length));
  }

  // The logits after token `position` of each text: [count, vocab].
  at::Tensor logits_after(size_t position, bool wanted) {
    at::Tensor ids = at::empty({static_cast<int64_t>(count_), 1}, at::kLong);
    for (size_t i = 0; i < count_; ++i) ids.mutable_data_ptr<int64_t>()[i] = texts_[first_ + i][position];
    at::Tensor x = decoder_.embed(ids).squeeze(1);
    for (size_t i = 0; i < blocks_.size(); ++i) x = blocks_[i].step(x, caches_[i]);
    return wanted ? decoder_.logits(x) : at::Tensor();
  }

 private:
  const Decoder& decoder_;
  const std::vector<DecoderBlock>& blocks_;
  std::vector<std::vector<int32_t>>& texts_;
  size_t first_, count_;
  std::vector<KeyValueCache> caches_;
};

}  // namespace

std::vector<std::vector<int32_t>> generate(const Decoder& decoder, const std::vector<std::vector<int32_t>>& prompts,
                                           int64_t length, const GenerateOptions& options) {
  std::vector<std::vector<int32_t>> texts = prompts;
  if (texts.empty()) return texts;
  const size_t given = texts.front().size();
  PARE_ASSERT(given >= 1);
  for (const auto& text : texts) PARE_ASSERT(text.size() == given);
  std::vector<DecoderBlock> blocks;
  for (int64_t i = 0; i < decoder.config().layers; ++i) blocks.push_back(decoder.block(i));
  const CounterRandom random(options.seed, "sampling");
  const auto steps = static_cast<size_t>(length);
  const size_t batches = (texts.size() + options.at_once - 1) / options.at_once;
  for (size_t b = 0; b < batches; ++b) {
    const size_t first = b * options.at_once, count = std::min(options.at_once, texts.size() - first);
    Batch batch(decoder, blocks, texts, first, count, length);
    std::vector<char> ended(count, 0);
    for (size_t position = 0; position + 1 < steps; ++position) {
      stop_if_interrupted();
      const bool wanted = position + 1 >= given;
      const at::Tensor logits = batch.logits_after(position, wanted);
      if (!wanted) continue;
      const int64_t vocab = logits.size(1);
      at::parallel_for(0, static_cast<int64_t>(count), 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const auto text = first + static_cast<size_t>(i);
          const double uniform = random.uniform((static_cast<uint64_t>(text) << 32) + position);
          const int32_t token = draw(logits.const_data_ptr<float>() + i * vocab, vocab, options.temperature, uniform);
          texts[text].push_back(token);
          if (options.stop_at_end && std::find(options.end.begin(), options.end.end(), token) != options.end.end())
            ended[static_cast<size_t>(i)] = 1;
        }
      });
      if (options.on_token) options.on_token(static_cast<int64_t>((b * steps + position + 2) / batches));
      if (options.stop_at_end && std::all_of(ended.begin(), ended.end(), [](char e) { return e != 0; })) break;
    }
  }
  if (options.stop_at_end) {
    for (auto& text : texts) {
      const auto end = std::find_first_of(text.begin() + static_cast<int64_t>(given), text.end(), options.end.begin(),
                                          options.end.end());
      if (end != text.end()) text.erase(end + 1, text.end());
    }
  }
  return texts;
}

}  // namespace pare
