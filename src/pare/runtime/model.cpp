#include "pare/runtime/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "pare/base/error.h"
#include "pare/runtime/model_parts.h"
#include "pare/runtime/sequence.h"

namespace pare {
namespace {

// Work of a pass's tokens that needs no other token: by all threads, unless it is less than telling them takes.
template <class Work>
void for_tokens(ThreadPool& pool, int64_t tokens, const Work& work) {
  if (tokens <= 2) {
    for (int64_t t = 0; t < tokens; ++t) work(t);
  } else {
    pool.for_each(tokens, work);
  }
}

void grow(std::vector<float>& buffer, int64_t size) {
  if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(static_cast<size_t>(size));
}

}  // namespace

// One pass over up to options.batch tokens of several sequences. Row i of every buffer is the pass's i-th token.
class Model::Impl::Pass {
 public:
  explicit Pass(Impl& model) : m_(model), c_(model.config) {}

  void run(std::span<const SequenceStep> steps, std::vector<float>& normed_out, int64_t& wanted_out) {
    begin(steps);
    embed(steps);
    for (int64_t layer = 0; layer < c_.layers; ++layer) block(layer);
    for (const SequenceStep& step : steps) step.sequence->impl().length += static_cast<int64_t>(step.tokens.size());
    finish(steps, normed_out, wanted_out);
  }

 private:
  struct Part {
    Sequence::Impl* cache;
    int64_t first_row, count, first_position;
  };

  void begin(std::span<const SequenceStep> steps) {
    parts_.clear();
    tokens_ = 0;
    for (const SequenceStep& step : steps) {
      const auto count = static_cast<int64_t>(step.tokens.size());
      parts_.push_back({&step.sequence->impl(), tokens_, count, step.sequence->length()});
      tokens_ += count;
    }
    grow(m_.x, tokens_ * c_.hidden);
    grow(m_.normed, tokens_ * c_.hidden);
    grow(m_.q, tokens_ * c_.heads * c_.head_dim);
    grow(m_.k, tokens_ * c_.kv_heads * c_.head_dim);
    grow(m_.v, tokens_ * c_.kv_heads * c_.head_dim);
    grow(m_.attended, tokens_ * c_.heads * c_.head_dim);
    grow(m_.gate, tokens_ * c_.intermediate);
    grow(m_.up, tokens_ * c_.intermediate);
    grow(m_.out, tokens_ * c_.hidden);
  }

  void embed(std::span<const SequenceStep> steps) {
    const float scale = c_.scale_embeddings ? static_cast<float>(std::sqrt(static_cast<double>(c_.hidden))) : 1.0f;
    int64_t row = 0;
    for (const SequenceStep& step : steps) {
      for (int32_t id : step.tokens) {
        float* x = m_.x.data() + row++ * c_.hidden;
        m_.embedding.unpack_rows(id, 1, {x, static_cast<size_t>(c_.hidden)});
        if (c_.scale_embeddings) {
          for (int64_t i = 0; i < c_.hidden; ++i) x[i] *= scale;
        }
      }
    }
  }

  void norm(const float* x, const std::vector<float>& weight, float* y) const {
    m_.functions.rms_norm(x, weight.data(), static_cast<int64_t>(weight.size()), static_cast<float>(c_.norm_eps), y);
  }

  // normed <- norm(x), into the activations that the next products take
  void norm_all(const std::vector<float>& weight) {
    for_tokens(m_.pool, tokens_,
               [&](int64_t t) { norm(m_.x.data() + t * c_.hidden, weight, m_.normed.data() + t * c_.hidden); });
    m_.hidden_rows.assign(m_.normed.data(), tokens_, c_.hidden, m_.pool);
  }

  // x += out, normed first where the family has a norm there
  void add(const std::vector<float>& bias, const std::vector<float>& post_norm) {
    for_tokens(m_.pool, tokens_, [&](int64_t t) {
      float* out = m_.out.data() + t * c_.hidden;
      add_bias(out, bias);
      if (!post_norm.empty()) norm(out, post_norm, out);
      float* x = m_.x.data() + t * c_.hidden;
      for (int64_t i = 0; i < c_.hidden; ++i) x[i] += out[i];
    });
  }

  static void add_bias(float* y, const std::vector<float>& bias) {
    for (size_t i = 0; i < bias.size(); ++i) y[i] += bias[i];
  }

  void block(int64_t layer) {
    const Block& b = m_.blocks[static_cast<size_t>(layer)];
    const int64_t q_width = c_.heads * c_.head_dim, kv_width = c_.kv_heads * c_.head_dim;
    norm_all(b.input_norm);
    const Product qkv[] = {{&b.q.matrix, m_.q.data(), q_width},
                           {&b.k.matrix, m_.k.data(), kv_width},
                           {&b.v.matrix, m_.v.data(), kv_width}};
    multiply(qkv, m_.hidden_rows, m_.pool);
    for (const Part& part : parts_) {
      for_tokens(m_.pool, part.count, [&](int64_t t) { prepare(b, layer, part, t); });
    }
    attend(layer);
    m_.attention_rows.assign(m_.attended.data(), tokens_, q_width, m_.pool);
    multiply(b.o.matrix, m_.attention_rows, m_.out.data(), c_.hidden, m_.pool);
    add(b.o.bias, b.after_attention_norm);

    norm_all(b.mlp_norm);
    const Product gate_up[] = {{&b.gate.matrix, m_.gate.data(), c_.intermediate},
                               {&b.up.matrix, m_.up.data(), c_.intermediate}};
    multiply(gate_up, m_.hidden_rows, m_.pool);
    for_tokens(m_.pool, tokens_, [&](int64_t t) {
      float* gate = m_.gate.data() + t * c_.intermediate;
      float* up = m_.up.data() + t * c_.intermediate;
      add_bias(gate, b.gate.bias);
      add_bias(up, b.up.bias);
      m_.functions.gated(c_.activation == Activation::gelu_tanh, gate, up, c_.intermediate, gate);
    });
    m_.inner_rows.assign(m_.gate.data(), tokens_, c_.intermediate, m_.pool);
    multiply(b.down.matrix, m_.inner_rows, m_.out.data(), c_.hidden, m_.pool);
    add(b.down.bias, b.after_mlp_norm);
  }

  // Token t of the part: biases, norms of heads, rotation, and its key and value into the cache.
  void prepare(const Block& b, int64_t layer, const Part& part, int64_t t) {
    const int64_t row = part.first_row + t, position = part.first_position + t, dim = c_.head_dim;
    float* q = m_.q.data() + row * c_.heads * dim;
    float* k = m_.k.data() + row * c_.kv_heads * dim;
    float* v = m_.v.data() + row * c_.kv_heads * dim;
    add_bias(q, b.q.bias);
    add_bias(k, b.k.bias);
    add_bias(v, b.v.bias);
    if (c_.qk_norm) {
      for (int64_t h = 0; h < c_.heads; ++h) norm(q + h * dim, b.q_norm, q + h * dim);
      for (int64_t h = 0; h < c_.kv_heads; ++h) norm(k + h * dim, b.k_norm, k + h * dim);
    }
    if (c_.layer_has_rope[static_cast<size_t>(layer)]) {
      const bool local = c_.layer_is_sliding[static_cast<size_t>(layer)] && !m_.local_rotary.cosine.empty();
      const RotaryRows& table = local ? m_.local_rotary : m_.rotary;
      const float* cosine = table.cosine.data() + position * dim / 2;
      const float* sine = table.sine.data() + position * dim / 2;
      m_.functions.rotate(q, cosine, sine, c_.heads, dim / 2);
      m_.functions.rotate(k, cosine, sine, c_.kv_heads, dim / 2);
    }
    for (int64_t h = 0; h < c_.kv_heads; ++h) {
      m_.functions.remember(part.cache->layer(layer, h), position, k + h * dim, v + h * dim);
    }
  }

  // Tasks of a few rows each, independent: which thread does which, and what shares a task, changes no bit.
  void attend(int64_t layer) {
    const int64_t dim = c_.head_dim, group = c_.heads / c_.kv_heads, width = c_.heads * dim;
    tasks_.clear();
    for (const Part& part : parts_) {
      // Heads that share keys go together, but not where that would leave threads without work.
      const bool split = part.count == 1 && c_.kv_heads % m_.pool.threads() != 0;
      const int64_t heads = split ? 1 : group;
      const int64_t span = std::max<int64_t>(1, cpu::kAttentionRows / heads);
      for (int64_t h = 0; h < c_.heads; h += heads) {
        for (int64_t t = 0; t < part.count; t += span) {
          cpu::AttentionTask task;
          task.cache = part.cache->layer(layer, h / group);
          const int64_t at = (part.first_row + t) * width + h * dim;
          task.queries = m_.q.data() + at;
          task.out = m_.attended.data() + at;
          task.heads = heads;
          task.rows = std::min(span, part.count - t) * heads;
          task.stride = dim;
          task.token_stride = width;
          task.first = part.first_position + t;
          task.window = c_.layer_is_sliding[static_cast<size_t>(layer)] ? c_.sliding_window : 0;
          task.scale = static_cast<float>(c_.attention_scale);
          task.softcap = static_cast<float>(c_.attention_softcap);
          tasks_.push_back(task);
        }
      }
    }
    // Late tokens see more than early ones: threads take every n-th task instead of a run of neighbours.
    const auto count = static_cast<int64_t>(tasks_.size());
    m_.pool.run([&](int thread, int threads) {
      thread_local AlignedBuffer room;
      const int64_t needed = cpu::attention_room((dim + 15) / 16 * 16);
      if (room.size() < needed) room = AlignedBuffer(needed);
      for (int64_t i = thread; i < count; i += threads)
        m_.functions.attend(tasks_[static_cast<size_t>(i)], room.data());
    });
  }

  void finish(std::span<const SequenceStep> steps, std::vector<float>& normed_out, int64_t& wanted_out) {
    for (size_t i = 0; i < steps.size(); ++i) {
      const Part& part = parts_[i];
      for (int64_t t = part.count - steps[i].logits; t < part.count; ++t, ++wanted_out) {
        grow(normed_out, (wanted_out + 1) * c_.hidden);
        norm(m_.x.data() + (part.first_row + t) * c_.hidden, m_.final_norm, normed_out.data() + wanted_out * c_.hidden);
      }
    }
  }

  Impl& m_;
  const DecoderConfig& c_;
  std::vector<Part> parts_;
  std::vector<cpu::AttentionTask> tasks_;
  int64_t tokens_ = 0;
};

void Model::Impl::check(std::span<const SequenceStep> steps) const {
  for (const SequenceStep& step : steps) {
    PARE_ASSERT(step.sequence != nullptr && !step.tokens.empty());
    PARE_ASSERT(step.logits >= 0 && step.logits <= static_cast<int64_t>(step.tokens.size()));
    for (int32_t id : step.tokens) {
      if (id < 0 || id >= config.vocab_size) {
        throw InputError(name + ": token id " + std::to_string(id) + " is outside the model's " +
                         std::to_string(config.vocab_size) + " tokens; is this the model's own tokenizer?");
      }
    }
    const int64_t length = step.sequence->length() + static_cast<int64_t>(step.tokens.size());
    if (length > step.sequence->capacity()) {
      throw InputError(std::to_string(length) + " tokens do not fit in the context of " +
                       std::to_string(step.sequence->capacity()) + "; shorten the text or give a larger --context");
    }
  }
}

// Passes of at most options.batch tokens: sequences in order, a long one over several passes.
void Model::Impl::run(std::span<const SequenceStep> steps) {
  check(steps);
  wanted = 0;
  Pass pass(*this);
  std::vector<SequenceStep> turn;
  int64_t filled = 0;
  const auto flush = [&] {
    if (!turn.empty()) pass.run(turn, wanted_rows, wanted);
    turn.clear();
    filled = 0;
  };
  for (const SequenceStep& step : steps) {
    const auto count = static_cast<int64_t>(step.tokens.size());
    for (int64_t done = 0; done < count;) {
      const int64_t take = std::min(options.batch - filled, count - done);
      const int64_t left = count - done - take;  // tokens of this step after these
      const int64_t logits = std::clamp<int64_t>(step.logits - left, 0, take);
      turn.push_back(
          {step.sequence, step.tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(take)), logits});
      done += take;
      filled += take;
      if (filled == options.batch) flush();
    }
  }
  flush();
}

std::span<const float> Model::forward(std::span<const SequenceStep> steps) {
  Impl& m = *impl_;
  m.run(steps);
  const int64_t vocab = m.config.vocab_size;
  grow(m.logits, m.wanted * vocab);
  if (m.wanted > 0) {
    m.hidden_rows.assign(m.wanted_rows.data(), m.wanted, m.config.hidden, m.pool);
    multiply(m.head, m.hidden_rows, m.logits.data(), vocab, m.pool);
    if (m.config.logit_softcap != 0) {
      const auto cap = static_cast<float>(m.config.logit_softcap);
      m.pool.for_each(m.wanted, [&](int64_t row) {
        for (float& logit : std::span(m.logits).subspan(static_cast<size_t>(row * vocab), static_cast<size_t>(vocab))) {
          logit = cap * std::tanh(logit / cap);
        }
      });
    }
  }
  return {m.logits.data(), static_cast<size_t>(m.wanted * vocab)};
}

std::span<const float> Model::hidden(std::span<const SequenceStep> steps) {
  impl_->run(steps);
  return {impl_->wanted_rows.data(), static_cast<size_t>(impl_->wanted * impl_->config.hidden)};
}

const DecoderConfig& Model::config() const {
  return impl_->config;
}
const RuntimeOptions& Model::options() const {
  return impl_->options;
}
int64_t Model::context() const {
  return impl_->options.context;
}
int64_t Model::vocab_size() const {
  return impl_->config.vocab_size;
}
uint64_t Model::weight_bytes() const {
  return impl_->weight_bytes;
}
uint64_t Model::token_bytes() const {
  return impl_->token_bytes;
}

std::unique_ptr<Sequence> Model::new_sequence() const {
  return std::make_unique<Sequence>(std::make_unique<Sequence::Impl>(impl_->cache_shape()));
}

}  // namespace pare
