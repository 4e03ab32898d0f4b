// What a Model holds: weights ready to be multiplied, tables, and the buffers of a pass.
#pragma once

#include <string>
#include <vector>

#include "pare/kernels/functions.h"
#include "pare/runtime/model.h"
#include "pare/runtime/sequence.h"

namespace pare {

struct RuntimeLinear {
  Matrix matrix;
  std::vector<float> bias;  // empty: none
};

struct Block {
  RuntimeLinear q, k, v, o, gate, up, down;
  // Empty where the family has none; Gemma's + 1 added.
  std::vector<float> input_norm, mlp_norm, after_attention_norm, after_mlp_norm, q_norm, k_norm;
};

struct RotaryRows {
  std::vector<float> cosine, sine;  // [context][head_dim / 2]
};

struct Model::Impl {
  explicit Impl(ThreadPool& threads) : pool(threads), functions(functions_of(current_isa())) {}

  CacheShape cache_shape() const {
    return {config.layers, config.kv_heads, config.head_dim, options.context, options.cache};
  }
  void check(std::span<const SequenceStep> steps) const;
  void run(std::span<const SequenceStep> steps);

  ThreadPool& pool;
  const cpu::FunctionTable& functions;
  DecoderConfig config;
  RuntimeOptions options;
  std::string name;
  std::vector<Block> blocks;
  Weight embedding;  // rows are read from it as it is stored
  Matrix head;
  std::vector<float> final_norm;
  RotaryRows rotary, local_rotary;
  uint64_t weight_bytes = 0, token_bytes = 0;

  // Of a pass, kept from one to the next.
  std::vector<float> x, normed, q, k, v, attended, gate, up, out, logits;
  std::vector<float> wanted_rows;  // [wanted, hidden], normed
  int64_t wanted = 0;
  Activations hidden_rows{0, Precision::int8}, attention_rows{0, Precision::int8}, inner_rows{0, Precision::int8};

  class Pass;
};

}  // namespace pare
