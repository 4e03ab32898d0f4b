#include "pare/curvature/output_fisher.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/base/random.h"

namespace pare {
namespace {

constexpr int64_t kVocabPiece = 4096;

// Each sequence of a group on a thread of its own: products inside run on one thread, whatever the number of threads.
void for_sequences(int64_t count, const std::function<void(int64_t)>& work) {
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(i);
  });
}

// Draws a token for each row of logits, piece by piece of the vocabulary, and adds up d(loss)/d(normed).
class HeadGradient {
 public:
  HeadGradient(const Decoder& decoder, const at::Tensor& normed, uint64_t seed, int64_t first_token)
      : decoder_(&decoder),
        normed_(normed),
        random_(seed, "tokens drawn for the Fisher information"),
        first_token_(first_token) {
    const int64_t sequences = normed.size(0), length = normed.size(1);
    log_sum_ = at::full({sequences, length}, -std::numeric_limits<double>::infinity(), at::kDouble);
    below_ = at::zeros({sequences, length}, at::kDouble);
    drawn_ = at::full({sequences, length}, int64_t{-1}, at::kLong);
    gradient_ = at::zeros_like(normed);
  }

  at::Tensor run() {
    for_pieces([this](const at::Tensor& rows, int64_t) { measure(rows); });
    for_pieces([this](const at::Tensor& rows, int64_t first) { draw(rows, first); });
    return gradient_;
  }

 private:
  template <class Work>
  void for_pieces(const Work& work) {
    const int64_t vocabulary = decoder_->config().vocab_size;
    for (int64_t first = 0; first < vocabulary; first += kVocabPiece) {
      stop_if_interrupted();
      work(decoder_->head_rows(first, std::min(kVocabPiece, vocabulary - first)), first);
    }
  }

  void measure(const at::Tensor& rows) {
    for_sequences(normed_.size(0), [&](int64_t s) {
      const at::Tensor logits = decoder_->head_logits(normed_[s], rows);
      log_sum_[s].copy_(at::logaddexp(log_sum_[s], at::logsumexp(logits, 1).to(at::kDouble)));
    });
  }

  void draw(const at::Tensor& rows, int64_t first) {
    const double cap = decoder_->config().logit_softcap;
    const int64_t length = normed_.size(1);
    for_sequences(normed_.size(0), [&](int64_t s) {
      const at::Tensor logits = decoder_->head_logits(normed_[s], rows);
      at::Tensor slope = (logits - log_sum_[s].unsqueeze(1).to(at::kFloat)).exp_();  // p, and below d(loss)/d(logit)
      const at::Tensor sums = slope.sum(1, /*keepdim=*/false, at::kDouble);
      double* below = below_.mutable_data_ptr<double>() + s * length;
      int64_t* drawn = drawn_.mutable_data_ptr<int64_t>() + s * length;
      const double* sum = sums.const_data_ptr<double>();
      for (int64_t t = 0; t < length; ++t) {
        const double u = random_.uniform(static_cast<uint64_t>(first_token_ + s * length + t));
        const bool last = first + rows.size(0) == decoder_->config().vocab_size;
        if (drawn[t] < 0 && (u < below[t] + sum[t] || last)) {
          drawn[t] = first + place_of(slope[t], u - below[t]);
          slope[t][drawn[t] - first].sub_(1);
        }
        below[t] += sum[t];
      }
      if (cap != 0) slope.mul_(1 - (logits / cap).square_());  // of cap * tanh(z / cap)
      gradient_[s].addmm_(slope, rows);
    });
  }

  // The first place where the sum of p reaches `u`.
  static int64_t place_of(const at::Tensor& p, double u) {
    const float* value = p.const_data_ptr<float>();
    double sum = 0;
    for (int64_t i = 0; i < p.size(0); ++i) {
      sum += static_cast<double>(value[i]);
      if (u < sum) return i;
    }
    return p.size(0) - 1;
  }

  const Decoder* decoder_;
  at::Tensor normed_;
  CounterRandom random_;
  int64_t first_token_;
  at::Tensor log_sum_, below_, drawn_, gradient_;
};

// d(loss)/d(hidden) before the final norm.
at::Tensor gradient_at_head(const Decoder& decoder, const at::Tensor& hidden, uint64_t seed, int64_t first_token) {
  const at::Tensor of_normed = HeadGradient(decoder, decoder.final_norm(hidden), seed, first_token).run();
  at::Tensor gradient = at::empty_like(hidden);
  for_sequences(hidden.size(0), [&](int64_t s) {
    const at::AutoGradMode recording(true);
    const at::Tensor x = hidden[s].detach().requires_grad_(true);
    decoder.recorded_final_norm(x).backward(of_normed[s]);
    gradient[s].copy_(x.grad());
  });
  return gradient;
}

class Gather {
 public:
  Gather(const Decoder& decoder, int64_t windows, int64_t length) : length_(length), tokens_(windows * length) {
    fisher_.of_tokens.resize(static_cast<size_t>(decoder.config().layers));
  }

  // Takes the gradient of a block's output to that of its input, for the sequences from window `first_window` on.
  void back(const DecoderBlock& block, const at::Tensor& input, at::Tensor& gradient, int64_t first_window) {
    auto& of_tokens = fisher_.of_tokens[static_cast<size_t>(block.index())];
    if (of_tokens.empty()) {
      for (size_t stage = 0; stage < block.stages().size(); ++stage) of_tokens.push_back(at::zeros({tokens_}));
    }
    const int64_t sequences = input.size(0);
    std::vector<std::map<std::string, at::Tensor>> squares(static_cast<size_t>(sequences));
    for_sequences(sequences, [&](int64_t s) {
      std::map<std::string, at::Tensor> outputs;
      at::Tensor x;
      {
        const at::AutoGradMode recording(true);
        x = input.narrow(0, s, 1).detach().requires_grad_(true);
        const at::Tensor result = block.recorded(x, outputs);
        for (auto& [name, output] : outputs) output.retain_grad();
        result.backward(gradient.narrow(0, s, 1));
      }
      gradient[s].copy_(x.grad()[0]);
      for (size_t stage = 0; stage < block.stages().size(); ++stage) {
        const at::Tensor weights = of_tokens[stage].narrow(0, (first_window + s) * length_, length_);
        for (const std::string& name : block.stages()[stage]) {
          const at::Tensor square = outputs.at(name).grad()[0].square();
          weights.add_(square.sum(1));
          squares[static_cast<size_t>(s)][name] = square.sum(0, /*keepdim=*/false, at::kDouble);
        }
      }
    });
    for (const auto& of_sequence : squares) {  // in order, so that sums do not depend on threads
      for (const auto& [name, square] : of_sequence) {
        at::Tensor& sum = fisher_.of_outputs[name];
        sum = sum.defined() ? sum + square : square;
      }
    }
  }

  // The gradient before the first block.
  void embedding(const at::Tensor& gradient) {
    const at::Tensor square = gradient.to(at::kDouble).square().sum({0, 1});
    fisher_.of_embedding = fisher_.of_embedding.defined() ? fisher_.of_embedding + square : square;
  }

  OutputFisher finish() {
    fisher_.of_embedding.div_(static_cast<double>(tokens_));
    for (auto& [name, sum] : fisher_.of_outputs) {
      sum.div_(static_cast<double>(tokens_));
      if (!sum.isfinite().all().item<bool>()) {
        throw InputError(name + ": the gradient of its output is not finite: the model overflows on this text");
      }
    }
    return std::move(fisher_);
  }

 private:
  int64_t length_, tokens_;
  OutputFisher fisher_;
};

at::Tensor ids_of(const std::vector<std::vector<int32_t>>& windows, size_t first, size_t count) {
  const auto length = static_cast<int64_t>(windows.front().size());
  at::Tensor ids = at::empty({static_cast<int64_t>(count), length}, at::kLong);
  int64_t* id = ids.mutable_data_ptr<int64_t>();
  for (size_t i = first; i < first + count; ++i) {
    PARE_ASSERT(windows[i].size() == windows.front().size());
    id = std::copy(windows[i].begin(), windows[i].end(), id);
  }
  return ids;
}

}  // namespace

OutputFisher output_fisher(const Decoder& decoder, const std::vector<std::vector<int32_t>>& windows,
                           const OutputFisherOptions& options) {
  PARE_ASSERT(!windows.empty() && !windows.front().empty() && decoder.dtype() == at::kFloat);
  const DecoderConfig& config = decoder.config();
  const auto length = static_cast<int64_t>(windows.front().size()), count = static_cast<int64_t>(windows.size());
  const uint64_t window_bytes = static_cast<uint64_t>(config.layers * length * config.hidden) * sizeof(float);
  const int64_t group = std::clamp<int64_t>(static_cast<int64_t>(options.checkpoint_bytes / window_bytes), 1, count);
  Gather gather(decoder, count, length);
  const double steps = static_cast<double>((count + group - 1) / group * (3 * config.layers + 1));
  double done = 0;
  const auto step = [&](double work) {
    stop_if_interrupted();
    done += work;
    if (options.progress) options.progress(std::min(1.0, done / steps));
  };
  for (int64_t first = 0; first < count; first += group) {
    const int64_t here = std::min(group, count - first);
    at::Tensor x = decoder.embed(ids_of(windows, static_cast<size_t>(first), static_cast<size_t>(here)));
    std::vector<at::Tensor> inputs;
    for (int64_t i = 0; i < config.layers; ++i) {
      inputs.push_back(x);
      x = decoder.block(i).forward(x);
      step(1);
    }
    at::Tensor gradient = gradient_at_head(decoder, x, options.seed, first * length);
    step(1);
    for (int64_t i = config.layers - 1; i >= 0; --i) {
      gather.back(decoder.block(i), inputs[static_cast<size_t>(i)], gradient, first);
      inputs.pop_back();
      step(2);
    }
    gather.embedding(gradient);
  }
  return gather.finish();
}

}  // namespace pare
