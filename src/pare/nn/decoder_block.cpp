#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "pare/base/error.h"
#include "pare/nn/attention.h"
#include "pare/nn/decoder.h"
#include "pare/nn/rms_norm.h"
#include "pare/nn/rotary.h"
#include "pare/nn/to_tensor.h"

namespace pare {
namespace {

// Tokens that one thread takes at a time through norm, products and activation: 256 x 1536 f32 are 1.5 MB, within its
// cache. Threads share out pieces and not the inside of each product: one meeting of threads a stage instead of one an
// operation, 153 GF/s a core either way, and the same bytes for any number of threads.
constexpr int64_t kPiece = 256;
// Tokens whose q, k and v are in memory at once in forward_().
constexpr int64_t kGroup = 8192;

template <class Work>  // work(first token, count)
void for_token_pieces(int64_t tokens, const Work& work) {
  const int64_t pieces = (tokens + kPiece - 1) / kPiece;
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(i * kPiece, std::min(kPiece, tokens - i * kPiece));
  };
  if (pieces == 1) return run(0, 1);  // its products use all threads themselves
  at::parallel_for(0, pieces, 1, run);
}

// dst [n, out] = x [n, in] W^T + bias
void multiply(const Linear& linear, const at::Tensor& x, at::Tensor dst) {
  if (linear.bias.defined()) {
    at::addmm_out(dst, linear.bias, x, linear.weight.t());
  } else {
    at::mm_out(dst, x, linear.weight.t());
  }
}

at::Tensor product(const Linear& linear, const at::Tensor& x) {
  at::Tensor result = at::empty({x.size(0), linear.weight.size(0)}, x.options());
  multiply(linear, x, result);
  return result;
}

at::Tensor rows_of(const at::Tensor& x) {
  return x.view({-1, x.size(-1)});
}

void require_finite(const at::Tensor& values, const std::string& name) {
  if (std::isfinite(values.sum(at::kFloat).item<float>())) return;  // one pass, no temporary
  const at::Tensor flat = values.reshape({-1});
  const at::Tensor bad = at::isfinite(flat).logical_not();
  if (!bad.any().item<bool>()) return;  // large values whose sum overflows
  const int64_t place = bad.nonzero().select(0, 0).item<int64_t>();
  const int64_t cols = values.size(-1);
  throw InputError(name + ": value " + std::to_string(flat[place].item<float>()) + " at row " +
                   std::to_string(place / cols) + ", column " + std::to_string(place % cols) +
                   ", expected finite numbers. The file is damaged or the training went wrong; get it again.");
}

at::Tensor read_finite(const ModelFiles& files, const std::string& name, at::ScalarType dtype) {
  at::Tensor values = to_tensor(files.read(name), dtype);
  files.release(name);
  require_finite(values, name);
  return values;
}

}  // namespace

DecoderBlock::DecoderBlock(const ModelFiles& files, std::shared_ptr<const DecoderConfig> config, int64_t index,
                           at::ScalarType dtype)
    : config_(std::move(config)), index_(index), dtype_(dtype), stages_(config_->linear_stages(index)) {
  PARE_ASSERT(index >= 0 && index < config_->layers);
  const bool biased[] = {config_->attention_bias, config_->output_bias, config_->mlp_bias, config_->mlp_bias};
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    for (const std::string& name : stages_[stage]) {
      Linear linear{.name = name, .weight = read_finite(files, name + ".weight", dtype), .bias = {}};
      if (biased[stage]) linear.bias = read_finite(files, name + ".bias", dtype);
      linears_.emplace(name, std::move(linear));
    }
  }
  for (const std::string& name : config_->norm_names()) {
    at::Tensor weight = read_finite(files, config_->block_prefix(index) + name + ".weight", at::kFloat);
    if (config_->norm_plus_one) weight.add_(1);
    norms_.emplace(name, std::move(weight));
  }
}

Linear& DecoderBlock::linear(const std::string& name) {
  const auto it = linears_.find(name);
  PARE_ASSERT(it != linears_.end());
  return it->second;
}

std::vector<std::string> DecoderBlock::linear_names() const {
  std::vector<std::string> names;
  for (const auto& stage : stages_) names.insert(names.end(), stage.begin(), stage.end());
  return names;
}

const Linear& DecoderBlock::at_stage(size_t stage, size_t position) const {
  return linears_.at(stages_[stage][position]);
}

const at::Tensor& DecoderBlock::norm(const char* name) const {
  static const at::Tensor none;
  const auto it = norms_.find(name);
  return it == norms_.end() ? none : it->second;
}

const at::Tensor& DecoderBlock::norm_after_attention() const {
  static const at::Tensor none;
  return config_->post_norms ? norm("post_attention_layernorm") : none;
}

const at::Tensor& DecoderBlock::norm_after_mlp() const {
  return norm("post_feedforward_layernorm");
}

// -> [sequences, length, heads * head_dim]
at::Tensor DecoderBlock::attention(const Inputs& inputs, int64_t sequences, int64_t length) const {
  const int64_t tokens = sequences * length, dim = config_->head_dim;
  const auto layer = static_cast<size_t>(index_);
  const auto options = at::TensorOptions(dtype_);
  const at::Tensor q = at::empty({tokens, config_->heads, dim}, options);
  const at::Tensor k = at::empty({tokens, config_->kv_heads, dim}, options), v = at::empty_like(k);
  const bool rotates = config_->layer_has_rope[layer];
  const RotaryTable table = rotates ? rotary_table(config_->rope_of(index_), dim, length) : RotaryTable{};
  for_token_pieces(tokens, [&](int64_t first, int64_t count) {
    const at::Tensor input = inputs(first, count);
    const auto fill = [&](size_t position, const at::Tensor& whole, const char* norm_name, bool rotate) {
      const at::Tensor part = whole.narrow(0, first, count);
      multiply(at_stage(0, position), input, part.view({count, -1}));
      if (config_->qk_norm && norm_name != nullptr) rms_norm_(part, norm(norm_name), config_->norm_eps);
      if (rotate) rotate_(part, table, first);
    };
    fill(0, q, "self_attn.q_norm", rotates);
    fill(1, k, "self_attn.k_norm", rotates);
    fill(2, v, nullptr, false);
  });
  const auto by_sequence = [&](const at::Tensor& x) { return x.view({sequences, length, x.size(1), dim}); };
  return causal_attention(by_sequence(q), by_sequence(k), by_sequence(v),
                          {.scale = config_->attention_scale,
                           .window = config_->layer_is_sliding[layer] ? config_->sliding_window : 0,
                           .softcap = config_->attention_softcap});
}

// out [n, intermediate] = act(gate) * up
void DecoderBlock::gated(const at::Tensor& input, at::Tensor out) const {
  multiply(at_stage(2, 0), input, out);
  config_->activation == Activation::silu ? at::silu_(out) : at::gelu_(out, "tanh");
  out.mul_(product(at_stage(2, 1), input));
}

BlockState DecoderBlock::begin(const at::Tensor& x) const {
  PARE_ASSERT(x.dim() == 3 && x.size(2) == config_->hidden);
  BlockState state;
  state.residual = x.to(at::kFloat).contiguous();
  state.input = rms_norm(state.residual, norm("input_layernorm"), config_->norm_eps, dtype_);
  return state;
}

BlockState DecoderBlock::begin_mlp(const at::Tensor& residual) const {
  PARE_ASSERT(residual.dim() == 3 && residual.scalar_type() == at::kFloat);
  return {2, residual, rms_norm(residual, norm(config_->mlp_norm_name()), config_->norm_eps, dtype_)};
}

void DecoderBlock::advance(BlockState& state) const {
  PARE_ASSERT(state.stage < stages_.size());
  const double eps = config_->norm_eps;
  const int64_t sequences = state.residual.size(0), length = state.residual.size(1);
  const at::Tensor input = rows_of(state.input);
  const auto output = [&](int64_t width) { return at::empty({sequences, length, width}, input.options()); };
  switch (state.stage) {
    case 0:
      state.input =
          attention([&](int64_t first, int64_t count) { return input.narrow(0, first, count); }, sequences, length);
      break;
    case 1: {
      state.residual = state.residual.clone();  // it was the caller's x until here
      const at::Tensor residual = rows_of(state.residual);
      state.input = output(config_->hidden);
      const at::Tensor normed = rows_of(state.input);
      for_token_pieces(sequences * length, [&](int64_t first, int64_t count) {
        const at::Tensor x = residual.narrow(0, first, count);
        add_(x, product(at_stage(1, 0), input.narrow(0, first, count)), norm_after_attention(), eps);
        normed.narrow(0, first, count).copy_(rms_norm(x, norm(config_->mlp_norm_name()), eps, dtype_));
      });
      break;
    }
    case 2: {
      state.input = output(config_->intermediate);
      const at::Tensor inner = rows_of(state.input);
      for_token_pieces(sequences * length, [&](int64_t first, int64_t count) {
        gated(input.narrow(0, first, count), inner.narrow(0, first, count));
      });
      break;
    }
    default: {
      const at::Tensor residual = rows_of(state.residual);
      for_token_pieces(sequences * length, [&](int64_t first, int64_t count) {
        add_(residual.narrow(0, first, count), product(at_stage(3, 0), input.narrow(0, first, count)), norm_after_mlp(),
             eps);
      });
      state.input = at::Tensor();
    }
  }
  ++state.stage;
}

void DecoderBlock::forward_(at::Tensor x) const {
  PARE_ASSERT(x.dim() == 3 && x.size(2) == config_->hidden && x.scalar_type() == at::kFloat && x.is_contiguous());
  const double eps = config_->norm_eps;
  const int64_t length = x.size(1), group = std::max<int64_t>(1, kGroup / std::max<int64_t>(1, length));
  for (int64_t sequence = 0; sequence < x.size(0); sequence += group) {
    const int64_t sequences = std::min(group, x.size(0) - sequence);
    const at::Tensor residual = rows_of(x.narrow(0, sequence, sequences));
    const auto normed = [&](int64_t first, int64_t count) {
      return rms_norm(residual.narrow(0, first, count), norm("input_layernorm"), eps, dtype_);
    };
    const at::Tensor mixed = rows_of(attention(normed, sequences, length));
    for_token_pieces(sequences * length, [&](int64_t first, int64_t count) {
      const at::Tensor part = residual.narrow(0, first, count);
      add_(part, product(at_stage(1, 0), mixed.narrow(0, first, count)), norm_after_attention(), eps);
      const at::Tensor inner = at::empty({count, config_->intermediate}, at::TensorOptions(dtype_));
      gated(rms_norm(part, norm(config_->mlp_norm_name()), eps, dtype_), inner);
      add_(part, product(at_stage(3, 0), inner), norm_after_mlp(), eps);
    });
  }
}

at::Tensor DecoderBlock::forward(const at::Tensor& x) const {
  at::Tensor result = x.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
  forward_(result);
  return result;
}

}  // namespace pare
