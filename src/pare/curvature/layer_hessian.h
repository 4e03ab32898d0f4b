// The curvature of one linear layer's output error, gathered from the inputs it sees.
//
//   || X (W - Q)^T ||_F^2 = sum over rows of d H d^T,   d = w - q,   H = 2/tokens X^T X   [in, in]
//
// HessianAccumulator takes activations as they stream by. Rows are regrouped into chunks of exactly `kChunkTokens`
// tokens whatever the sizes they come in, and chunks are added in order: the same bytes for any batch size and any
// number of threads. Products and sums in fp32 (one triangle, mirrored at the end). Layers that share an input
// (q/k/v, gate/up) share one accumulator: the input is counted once.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>

namespace pare {

struct LayerHessian {
  at::Tensor h;       // [in, in] f32, symmetric bit for bit; undefined when only the diagonal was asked for
  at::Tensor sum;     // [in] f64, sum over tokens of x
  at::Tensor sum_sq;  // [in] f64, sum over tokens of x^2 (Wanda's norm, importance)
  at::Tensor cross;   // [in, in] f32: 2/tokens X_original^T X, for the shifted target; mostly undefined
  int64_t tokens = 0;
};

class HessianAccumulator {
 public:
  static constexpr int64_t kChunkTokens = 2048;
  enum class Keep { full, diagonal };

  HessianAccumulator(int64_t in, Keep keep = Keep::full);
  ~HessianAccumulator();
  HessianAccumulator(HessianAccumulator&&) noexcept;

  // activations [..., in], f32 or bf16. A non-finite value throws InputError naming `where` ("model.layers.7.mlp.
  // down_proj"), the token's place among all tokens so far and the input channel.
  void add(const at::Tensor& activations, const std::string& where);
  // With the inputs of the same tokens in the original model, for LayerHessian::cross.
  void add(const at::Tensor& activations, const at::Tensor& original, const std::string& where);
  int64_t tokens() const;
  LayerHessian finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pare
