// Causal attention of whole sequences, with grouped key/value heads, a sliding window and a soft cap where asked for.
//
//   out[i] = sum_j softmax_j(cap(scale q_i . k_j)) v_j,   j in (i - window, i],   cap(s) = c tanh(s / c)
//
// The heads that share keys are rows of one product; a block of their queries sees just the keys that it may see, and
// its scores stay within a core's cache: no [length, length] matrix, and half the work of a masked one. Softmax in f32.
// Same bytes for any number of threads.
#pragma once

#include <ATen/ATen.h>

namespace pare {

struct AttentionShape {
  double scale = 1;
  int64_t window = 0;  // tokens seen, itself included; 0: all before
  double softcap = 0;  // 0: none
};

// q [batch, length, heads, head_dim], k and v [batch, length, kv_heads, head_dim]; heads a multiple of kv_heads.
// Returns [batch, length, heads * head_dim] of q's type, contiguous.
at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionShape& shape);

}  // namespace pare
