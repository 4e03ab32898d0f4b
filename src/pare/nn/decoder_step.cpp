// One block over the next token of each sequence, keys and values of the tokens before it kept.

#include <ATen/Parallel.h>

#include <algorithm>

#include "pare/base/error.h"
#include "pare/nn/attention.h"
#include "pare/nn/decoder.h"
#include "pare/nn/rms_norm.h"
#include "pare/nn/rotary.h"

namespace pare {
namespace {

at::Tensor apply(const Linear& linear, const at::Tensor& x) {
  return linear.bias.defined() ? at::addmm(linear.bias, x, linear.weight.t()) : at::mm(x, linear.weight.t());
}

// q [batch, heads, dim] against keys [batch, kv_heads, seen, dim] -> [batch, heads * dim]
at::Tensor attend(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values, const AttentionShape& shape) {
  const int64_t batch = q.size(0), kv_heads = keys.size(1), dim = q.size(2);
  const at::Tensor grouped = q.view({batch, kv_heads, q.size(1) / kv_heads, dim});
  at::Tensor scores = at::matmul(grouped, keys.transpose(2, 3)).to(at::kFloat).mul_(shape.scale);
  if (shape.softcap != 0) scores.div_(shape.softcap).tanh_().mul_(shape.softcap);
  const at::Tensor weights = at::softmax(scores, -1).to(values.scalar_type());
  return at::matmul(weights, values).reshape({batch, -1});
}

}  // namespace

at::Tensor DecoderBlock::step(const at::Tensor& x, KeyValueCache& cache) const {
  const int64_t batch = x.size(0), dim = config_->head_dim, position = cache.filled;
  const auto layer = static_cast<size_t>(index_);
  const double eps = config_->norm_eps;
  PARE_ASSERT(x.dim() == 2 && position < cache.keys.size(2));
  const at::Tensor residual = x.clone();
  const at::Tensor normed = rms_norm(residual, norm("input_layernorm"), eps, dtype_);
  at::Tensor q = apply(at_stage(0, 0), normed).view({batch, config_->heads, dim});
  at::Tensor k = apply(at_stage(0, 1), normed).view({batch, config_->kv_heads, dim});
  const at::Tensor v = apply(at_stage(0, 2), normed).view({batch, config_->kv_heads, dim});
  if (config_->qk_norm) {
    rms_norm_(q, norm("self_attn.q_norm"), eps);
    rms_norm_(k, norm("self_attn.k_norm"), eps);
  }
  if (config_->layer_has_rope[layer]) {
    const RotaryTable whole = rotary_table(config_->rope_of(index_), dim, position + 1);
    const RotaryTable here{whole.cos.narrow(0, position, 1).contiguous(),
                           whole.sin.narrow(0, position, 1).contiguous()};
    rotate_(q, here, 0);  // a table of one position: every token of the batch stands there
    rotate_(k, here, 0);
  }
  cache.keys.select(2, position).copy_(k);
  cache.values.select(2, position).copy_(v);
  ++cache.filled;
  const int64_t window = config_->layer_is_sliding[layer] ? config_->sliding_window : 0;
  const int64_t first = window > 0 ? std::max<int64_t>(0, cache.filled - window) : 0;
  const at::Tensor mixed =
      attend(q, cache.keys.narrow(2, first, cache.filled - first), cache.values.narrow(2, first, cache.filled - first),
             {.scale = config_->attention_scale, .window = 0, .softcap = config_->attention_softcap});
  add_(residual, apply(at_stage(1, 0), mixed), norm_after_attention(), eps);
  const at::Tensor inner = at::empty({batch, config_->intermediate}, at::TensorOptions(dtype_));
  gated(rms_norm(residual, norm(config_->mlp_norm_name()), eps, dtype_), inner);
  add_(residual, apply(at_stage(3, 0), inner), norm_after_mlp(), eps);
  return residual;
}

KeyValueCache DecoderBlock::make_cache(int64_t batch, int64_t length) const {
  const auto zeros = [&] {
    return at::zeros({batch, config_->kv_heads, length, config_->head_dim}, at::TensorOptions(dtype_));
  };
  return {zeros(), zeros(), 0};
}

}  // namespace pare
