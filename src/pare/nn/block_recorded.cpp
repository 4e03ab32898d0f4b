// DecoderBlock::recorded: what forward() computes, in operations that autograd knows.

#include <limits>

#include "pare/base/error.h"
#include "pare/nn/decoder.h"
#include "pare/nn/rotary.h"

namespace pare {
namespace {

at::Tensor recorded_norm(const at::Tensor& x, const at::Tensor& w, double eps) {
  return x * (x.square().mean(-1, /*keepdim=*/true) + eps).rsqrt() * w;
}

// x [batch, length, heads, dim]
at::Tensor rotated(const at::Tensor& x, const RotaryTable& table) {
  const at::Tensor cos = table.cos.unsqueeze(1), sin = table.sin.unsqueeze(1);  // [length, 1, dim / 2]
  const std::vector<at::Tensor> halves = x.chunk(2, -1);
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
}

// 0 where a query may see a key, -inf elsewhere: [length, length]
at::Tensor mask_of(int64_t length, int64_t window) {
  const at::Tensor at_place = at::arange(length, at::kLong);
  const at::Tensor behind = at_place.unsqueeze(1) - at_place.unsqueeze(0);
  at::Tensor hidden = behind.lt(0);
  if (window > 0) hidden = hidden.logical_or(behind.ge(window));
  return at::zeros({length, length}).masked_fill(hidden, -std::numeric_limits<float>::infinity());
}

// q [batch, length, heads, dim], k and v [batch, length, kv_heads, dim] -> [batch, length, heads * dim]
at::Tensor recorded_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                              double softcap, const at::Tensor& mask) {
  const int64_t batch = q.size(0), length = q.size(1), dim = q.size(3), kv_heads = k.size(2);
  const int64_t group = q.size(2) / kv_heads;
  const auto by_head = [&](const at::Tensor& x, int64_t members) {
    return x.view({batch, length, kv_heads, members, dim}).permute({0, 2, 3, 1, 4});
  };
  at::Tensor scores = at::matmul(by_head(q, group) * scale, by_head(k, 1).transpose(-1, -2));
  if (softcap != 0) scores = (scores / softcap).tanh() * softcap;
  const at::Tensor mixed = at::matmul(at::softmax(scores + mask, -1), by_head(v, 1));
  return mixed.permute({0, 3, 1, 2, 4}).reshape({batch, length, kv_heads * group * dim});
}

}  // namespace

at::Tensor DecoderBlock::recorded(const at::Tensor& x, std::map<std::string, at::Tensor>& outputs) const {
  PARE_ASSERT(x.dim() == 3 && x.size(2) == config_->hidden && x.scalar_type() == at::kFloat && dtype_ == at::kFloat);
  const int64_t batch = x.size(0), length = x.size(1), dim = config_->head_dim;
  const double eps = config_->norm_eps;
  const auto layer = static_cast<size_t>(index_);
  const auto product = [&](size_t stage, size_t position, const at::Tensor& input) {
    const Linear& linear = at_stage(stage, position);
    at::Tensor y = at::linear(input, linear.weight, linear.bias);
    outputs[linear.name] = y;
    return y;
  };
  const auto added = [&](const at::Tensor& residual, const at::Tensor& y, const at::Tensor& w) {
    return residual + (w.defined() ? recorded_norm(y, w, eps) : y);
  };
  const bool rotates = config_->layer_has_rope[layer];
  const RotaryTable table = rotates ? rotary_table(config_->rope_of(index_), dim, length) : RotaryTable{};
  const auto heads = [&](size_t position, const at::Tensor& input, const char* norm_name, bool rotate) {
    at::Tensor y = product(0, position, input).view({batch, length, -1, dim});
    if (config_->qk_norm && norm_name != nullptr) y = recorded_norm(y, norm(norm_name), eps);
    return rotate ? rotated(y, table) : y;
  };

  const at::Tensor input = recorded_norm(x, norm("input_layernorm"), eps);
  const at::Tensor q = heads(0, input, "self_attn.q_norm", rotates), k = heads(1, input, "self_attn.k_norm", rotates);
  const at::Tensor v = heads(2, input, nullptr, false);
  const int64_t window = config_->layer_is_sliding[layer] ? config_->sliding_window : 0;
  const at::Tensor mixed =
      recorded_attention(q, k, v, config_->attention_scale, config_->attention_softcap, mask_of(length, window));
  const at::Tensor middle = added(x, product(1, 0, mixed), norm_after_attention());
  const at::Tensor inner = recorded_norm(middle, norm(config_->mlp_norm_name()), eps);
  const at::Tensor gate = product(2, 0, inner);
  const at::Tensor active = config_->activation == Activation::silu ? at::silu(gate) : at::gelu(gate, "tanh");
  return added(middle, product(3, 0, active * product(2, 1, inner)), norm_after_mlp());
}

at::Tensor Decoder::recorded_final_norm(const at::Tensor& hidden) const {
  return recorded_norm(hidden, final_norm_, config_->norm_eps);
}

}  // namespace pare
