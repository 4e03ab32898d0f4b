#include "pare/pipeline/run/evaluate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/nn/decoder.h"

namespace pare {
namespace {

// Windows of one length, next to each other in the text.
struct Group {
  size_t first_window = 0;
  at::Tensor ids;  // [windows, length] int64
  int64_t predicted() const { return ids.size(0) * (ids.size(1) - 1); }
};

std::vector<Group> groups_of(const Windows& windows, int64_t most_tokens) {
  std::vector<Group> groups;
  for (size_t i = 0; i < windows.size();) {
    const size_t length = windows[i].size();
    if (length < 2) {
      throw InputError("evaluate: window " + std::to_string(i) + " has " + std::to_string(length) +
                       " tokens, expected at least 2 (the first predicts the second)");
    }
    size_t end = i + 1;
    while (end < windows.size() && windows[end].size() == length &&
           static_cast<int64_t>((end - i + 1) * length) <= most_tokens) {
      ++end;
    }
    Group group{.first_window = i,
                .ids = at::empty({static_cast<int64_t>(end - i), static_cast<int64_t>(length)}, at::kLong)};
    int64_t* id = group.ids.mutable_data_ptr<int64_t>();
    for (; i < end; ++i) id = std::copy(windows[i].begin(), windows[i].end(), id);
    groups.push_back(std::move(group));
  }
  if (groups.empty()) throw InputError("evaluate: the text has no window of at least 2 tokens to predict");
  return groups;
}

int64_t most_tokens(const EvaluationOptions& options, int64_t hidden, int models) {
  return static_cast<int64_t>(options.hidden_bytes / static_cast<uint64_t>(4 * hidden * models));
}

// Work is counted in products: a block and the head have known sizes.
class Progress {
 public:
  Progress(const EvaluationOptions& options, double total) : options_(options), total_(total) {}
  void add(double work, std::string_view what) {
    stop_if_interrupted();
    done_ += work;
    if (options_.progress) options_.progress(std::min(1.0, done_ / total_), what);
  }

 private:
  const EvaluationOptions& options_;
  double total_, done_ = 0;
};

double block_work(const DecoderConfig& c) {
  return static_cast<double>(c.hidden) *
         static_cast<double>((2 * c.heads + 2 * c.kv_heads) * c.head_dim + 3 * c.intermediate);
}
double head_work(const DecoderConfig& c) {
  return static_cast<double>(c.hidden) * static_cast<double>(c.vocab_size);
}

// What the head multiplies for each predicted token of the group: [predicted, hidden], compute dtype.
at::Tensor predictors(const Decoder& decoder, const Group& group, Progress& progress, std::string_view what) {
  const double work = block_work(decoder.config()) * static_cast<double>(group.ids.numel());
  const at::Tensor hidden = decoder.hidden(group.ids, [&](int64_t) { progress.add(work, what); });
  return decoder.final_norm(hidden.narrow(1, 0, group.ids.size(1) - 1)).view({-1, decoder.config().hidden});
}

// Running softmax statistics of one token's logits over the vocabulary seen so far.
struct Softmax {
  float best = -std::numeric_limits<float>::infinity();
  int64_t best_id = -1;
  double sum = 0;     // of exp(logit - best)
  double target = 0;  // logit of the token that came
  double log_sum() const { return static_cast<double>(best) + std::log(sum); }
  double nll() const { return log_sum() - target; }
};

struct TokenState {
  Softmax model, original;
  double cross = 0;  // sum of exp(original logit - original.best) (original logit - model logit)
};

struct TokenFigures {
  double nll = 0, original_nll = 0, kl = 0;
  bool same_top = false;
};

float largest(const float* x, int64_t n, int64_t& place) {
  float lanes[16];
  std::fill_n(lanes, 16, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int64_t j = 0; j < 16; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  float best = *std::max_element(lanes, lanes + 16);
  for (; i < n; ++i) best = std::max(best, x[i]);
  place = std::find(x, x + n, best) - x;
  return best;
}

// Takes in logits [count, rows] of ids first_id ...; returns exp(logits - best) [count, rows] and what the sums so far
// were multiplied with, since `best` may have grown.
at::Tensor take_in(const at::Tensor& logits, int64_t first_id, const int64_t* targets, int64_t count,
                   const std::function<Softmax&(int64_t)>& of, std::vector<double>& shrink) {
  const int64_t rows = logits.size(1);
  const float* x = logits.const_data_ptr<float>();
  const at::Tensor bests = at::empty({count, 1}, at::kFloat);
  for (int64_t t = 0; t < count; ++t) {
    Softmax& softmax = of(t);
    int64_t place = 0;
    const float best = largest(x + t * rows, rows, place);
    shrink[static_cast<size_t>(t)] = 1;
    if (best > softmax.best) {
      shrink[static_cast<size_t>(t)] = std::exp(static_cast<double>(softmax.best) - static_cast<double>(best));
      softmax.best = best;
      softmax.best_id = first_id + place;
    }
    bests.mutable_data_ptr<float>()[t] = softmax.best;
    const int64_t target = targets[t] - first_id;
    if (target >= 0 && target < rows) softmax.target = static_cast<double>(x[t * rows + target]);
  }
  at::Tensor weights = at::sub(logits, bests).exp_();
  const at::Tensor sums = weights.sum(1);
  for (int64_t t = 0; t < count; ++t) {
    Softmax& softmax = of(t);
    softmax.sum = softmax.sum * shrink[static_cast<size_t>(t)] + static_cast<double>(sums.const_data_ptr<float>()[t]);
  }
  return weights;
}

// The head on all predicted tokens of a group. `original` and its predictors: none, or both.
std::vector<TokenFigures> figures_of(const Group& group, const Decoder& model, const at::Tensor& predictors,
                                     const Decoder* original, const at::Tensor& original_predictors,
                                     const EvaluationOptions& options, Progress& progress) {
  const int64_t tokens = group.predicted(), vocab = model.config().vocab_size;
  const at::Tensor targets = group.ids.narrow(1, 1, group.ids.size(1) - 1).contiguous();
  const int64_t* target = targets.const_data_ptr<int64_t>();
  std::vector<TokenState> states(static_cast<size_t>(tokens));
  const int64_t pieces = (tokens + options.token_piece - 1) / options.token_piece;
  for (int64_t first_id = 0; first_id < vocab; first_id += options.vocab_piece) {
    const int64_t rows = std::min(options.vocab_piece, vocab - first_id);
    const at::Tensor head = model.head_rows(first_id, rows);
    const at::Tensor original_head = original != nullptr ? original->head_rows(first_id, rows) : at::Tensor();
    at::parallel_for(0, pieces, 1, [&](int64_t begin, int64_t end) {
      std::vector<double> shrink(static_cast<size_t>(options.token_piece));
      for (int64_t piece = begin; piece < end; ++piece) {
        const int64_t first = piece * options.token_piece, count = std::min(options.token_piece, tokens - first);
        TokenState* state = states.data() + first;
        const at::Tensor logits = model.head_logits(predictors.narrow(0, first, count), head);
        take_in(
            logits, first_id, target + first, count, [&](int64_t t) -> Softmax& { return state[t].model; }, shrink);
        if (original == nullptr) continue;
        at::Tensor apart = original->head_logits(original_predictors.narrow(0, first, count), original_head);
        at::Tensor weights = take_in(
            apart, first_id, target + first, count, [&](int64_t t) -> Softmax& { return state[t].original; }, shrink);
        const at::Tensor cross = weights.mul_(apart.sub_(logits)).sum(1);
        for (int64_t t = 0; t < count; ++t) {
          state[t].cross =
              state[t].cross * shrink[static_cast<size_t>(t)] + static_cast<double>(cross.const_data_ptr<float>()[t]);
        }
      }
    });
    const int models = original != nullptr ? 2 : 1;
    const double work = static_cast<double>(tokens) * models * head_work(model.config()) * static_cast<double>(rows) /
                        static_cast<double>(vocab);
    progress.add(work, "head");
  }
  std::vector<TokenFigures> figures(states.size());
  for (size_t i = 0; i < states.size(); ++i) {
    const TokenState& s = states[i];
    figures[i].nll = s.model.nll();
    if (original == nullptr) continue;
    figures[i].original_nll = s.original.nll();
    // E_p[original logit - model logit] - log Z_p + log Z_q
    figures[i].kl = s.cross / s.original.sum - s.original.log_sum() + s.model.log_sum();
    figures[i].same_top = s.model.best_id == s.original.best_id;
  }
  return figures;
}

// Mean over tokens and its standard error, from single tokens or from the means of windows.
class Mean {
 public:
  void add_window(const std::vector<double>& values) {
    double sum = 0;
    for (double value : values) {
      sum += value;
      squares_ += value * value;
    }
    sums_.push_back(sum);
    counts_.push_back(static_cast<double>(values.size()));
    total_ += sum;
    count_ += static_cast<double>(values.size());
  }
  double mean() const { return total_ / count_; }
  double standard_error(bool over_windows) const {
    if (!over_windows) {
      return count_ < 2 ? 0 : std::sqrt(std::max(0.0, squares_ / count_ - mean() * mean()) / (count_ - 1));
    }
    // of a ratio of sums: windows of equal length make it sd(window means) / sqrt(windows)
    const double n = static_cast<double>(sums_.size());
    double spread = 0;
    for (size_t i = 0; i < sums_.size(); ++i) {
      const double off = sums_[i] - mean() * counts_[i];
      spread += off * off;
    }
    return std::sqrt(spread * n / (n - 1)) / count_;
  }

 private:
  std::vector<double> sums_, counts_;
  double total_ = 0, squares_ = 0, count_ = 0;
};

struct Collected {
  Mean nll, original_nll, kl, top1;

  void add(const Group& group, const std::vector<TokenFigures>& figures) {
    const auto a_window = static_cast<size_t>(group.ids.size(1) - 1);
    for (size_t begin = 0; begin < figures.size(); begin += a_window) {
      const auto add_to = [&](Mean& mean, const auto& value_of) {
        std::vector<double> values(a_window);
        for (size_t i = 0; i < a_window; ++i) values[i] = value_of(figures[begin + i]);
        mean.add_window(values);
      };
      add_to(nll, [](const TokenFigures& f) { return f.nll; });
      add_to(original_nll, [](const TokenFigures& f) { return f.original_nll; });
      add_to(kl, [](const TokenFigures& f) { return f.kl; });
      add_to(top1, [](const TokenFigures& f) { return f.same_top ? 1.0 : 0.0; });
    }
  }

  Evaluation summary(const Windows& windows, bool compared) const {
    Evaluation e;
    e.windows = static_cast<int64_t>(windows.size());
    for (const auto& window : windows) {
      e.tokens += static_cast<int64_t>(window.size());
      e.length = std::max(e.length, static_cast<int64_t>(window.size()));
    }
    e.predicted = e.tokens - e.windows;
    e.stderr_over_windows = windows.size() >= 8;
    const bool over = e.stderr_over_windows;
    e.perplexity = std::exp(nll.mean());
    e.perplexity_stderr = e.perplexity * nll.standard_error(over);
    if (!compared) return e;
    e.kl = kl.mean();
    e.kl_stderr = kl.standard_error(over);
    e.top1 = top1.mean();
    e.top1_stderr = top1.standard_error(over);
    e.against_perplexity = std::exp(original_nll.mean());
    e.against_perplexity_stderr = *e.against_perplexity * original_nll.standard_error(over);
    return e;
  }
};

at::ScalarType dtype_of(const EvaluationOptions& options) {
  return options.bf16 ? at::kBFloat16 : at::kFloat;
}

int64_t count_tokens(const Windows& windows) {
  int64_t tokens = 0;
  for (const auto& window : windows) tokens += static_cast<int64_t>(window.size());
  return tokens;
}

double forward_work(const DecoderConfig& c, const Windows& windows) {
  return static_cast<double>(count_tokens(windows)) * static_cast<double>(c.layers) * block_work(c);
}
double all_head_work(const DecoderConfig& c, const Windows& windows) {
  return (static_cast<double>(count_tokens(windows)) - static_cast<double>(windows.size())) * head_work(c);
}

void require_same_vocabulary(const Decoder& model, const ModelFiles& model_files, const Decoder& original,
                             const ModelFiles& original_files) {
  const int64_t mine = model.config().vocab_size, theirs = original.config().vocab_size;
  if (mine == theirs) return;
  throw InputError("evaluate: " + model_files.path().string() + " has a vocabulary of " + std::to_string(mine) + ", " +
                   original_files.path().string() + " one of " + std::to_string(theirs) +
                   "; only models of one tokenizer can be compared");
}

}  // namespace

struct EvaluationReference::State {
  const ModelFiles* files;
  const Windows* windows;
  Decoder decoder;
  at::Tensor predictors;  // [predicted, hidden] of all windows
};

EvaluationReference::EvaluationReference(const ModelFiles& original, const Windows& windows,
                                         const EvaluationOptions& options) {
  Decoder decoder(original, dtype_of(options));
  Progress progress(options, forward_work(decoder.config(), windows));
  std::vector<at::Tensor> parts;
  for (const Group& group : groups_of(windows, most_tokens(options, decoder.config().hidden, 1))) {
    parts.push_back(predictors(decoder, group, progress, "original"));
  }
  state_ = std::make_shared<State>(State{&original, &windows, std::move(decoder), at::cat(parts)});
}

Evaluation evaluate(const ModelFiles& model, const EvaluationReference& against, const EvaluationOptions& options) {
  const EvaluationReference::State& reference = against.state();
  const Decoder decoder(model, dtype_of(options));
  require_same_vocabulary(decoder, model, reference.decoder, *reference.files);
  const DecoderConfig& c = decoder.config();
  const Windows& windows = *reference.windows;
  Progress progress(options, forward_work(c, windows) + 2 * all_head_work(c, windows));
  Collected collected;
  int64_t first = 0;
  for (const Group& group : groups_of(windows, most_tokens(options, c.hidden, 1))) {
    const at::Tensor mine = predictors(decoder, group, progress, "model");
    const at::Tensor theirs = reference.predictors.narrow(0, first, group.predicted());
    collected.add(group, figures_of(group, decoder, mine, &reference.decoder, theirs, options, progress));
    first += group.predicted();
  }
  return collected.summary(windows, true);
}

Evaluation evaluate(const ModelFiles& model, const ModelFiles& against, const Windows& windows,
                    const EvaluationOptions& options) {
  const Decoder decoder(model, dtype_of(options)), original(against, dtype_of(options));
  require_same_vocabulary(decoder, model, original, against);
  const DecoderConfig& c = decoder.config();
  Progress progress(
      options, forward_work(c, windows) + forward_work(original.config(), windows) + 2 * all_head_work(c, windows));
  Collected collected;
  const int64_t widest = std::max(c.hidden, original.config().hidden);
  for (const Group& group : groups_of(windows, most_tokens(options, widest, 2))) {
    const at::Tensor theirs = predictors(original, group, progress, "original");
    const at::Tensor mine = predictors(decoder, group, progress, "model");
    collected.add(group, figures_of(group, decoder, mine, &original, theirs, options, progress));
  }
  return collected.summary(windows, true);
}

Evaluation evaluate(const ModelFiles& model, const Windows& windows, const EvaluationOptions& options) {
  const Decoder decoder(model, dtype_of(options));
  const DecoderConfig& c = decoder.config();
  Progress progress(options, forward_work(c, windows) + all_head_work(c, windows));
  Collected collected;
  for (const Group& group : groups_of(windows, most_tokens(options, c.hidden, 1))) {
    const at::Tensor mine = predictors(decoder, group, progress, "model");
    collected.add(group, figures_of(group, decoder, mine, nullptr, {}, options, progress));
  }
  return collected.summary(windows, false);
}

}  // namespace pare
