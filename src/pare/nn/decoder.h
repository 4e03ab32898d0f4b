// The decoder, a block at a time, from files that stay on disk.
//
//   x = embed(ids)
//   for each block:  a = norm1(x);  x += o(attention(q(a), k(a), v(a)))
//                    m = norm2(x);  x += down(act(gate(m)) * up(m))
//   logits = head(norm(x))
//
// A block is run in stages, one for each set of linears that share an input, since compression stops between them:
//
//   stage 0  q, k, v    input = norm1(x)
//   stage 1  o          input = attention
//   stage 2  gate, up   input = norm2(x + o)
//   stage 3  down       input = act(gate) * up
//
//   BlockState s = block.begin(x);                  // s.input is stage 0's input
//   while (s.stage < block.stages().size()) block.advance(s);   // runs the stage's linears; s.input is the next one's
//   x = s.residual;                                  // the block's output
//
// The residual stream is f32 whatever the compute dtype: with bf16 the products take and give bf16, sums along the
// residual lose nothing. Norms, softmax and rotations are in f32.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pare/weights/decoder_config.h"
#include "pare/weights/model_files.h"

namespace pare {

struct Linear {
  std::string name;   // "model.layers.0.self_attn.q_proj"; its parameter is name + ".weight"
  at::Tensor weight;  // [out, in], compute dtype
  at::Tensor bias;    // [out] or undefined
};

struct BlockState {
  size_t stage = 0;
  at::Tensor residual;  // [batch, length, hidden] f32
  at::Tensor input;     // [batch, length, in] of the stage's linears; undefined after the last
};

// Keys and values of the tokens seen so far, [batch, kv_heads, length, head_dim] of the compute type.
struct KeyValueCache {
  at::Tensor keys, values;
  int64_t filled = 0;
};

class DecoderBlock {
 public:
  // Reads block `index` from the files, whose pages it then lets go. `dtype`: at::kFloat or at::kBFloat16. A value that
  // is not finite is InputError with the tensor's name and the place.
  DecoderBlock(const ModelFiles& files, std::shared_ptr<const DecoderConfig> config, int64_t index,
               at::ScalarType dtype);

  int64_t index() const { return index_; }
  const std::vector<std::vector<std::string>>& stages() const { return stages_; }  // names of linears
  Linear& linear(const std::string& name);
  std::vector<std::string> linear_names() const;

  BlockState begin(const at::Tensor& x) const;  // x [batch, length, hidden]; it is left as it is
  // The state before stage 2, from its residual: what a walk that stopped there need not keep.
  BlockState begin_mlp(const at::Tensor& residual) const;
  void advance(BlockState& state) const;
  // All stages at once: the same result, with less memory and traffic.
  at::Tensor forward(const at::Tensor& x) const;
  // In place, x f32 contiguous: any number of sequences, by groups that keep intermediates small.
  void forward_(at::Tensor x) const;

  // The same, slower, in operations that autograd records, for whoever needs gradients: x f32 in f32 compute. Each
  // linear's output, [batch, length, out], is put into `outputs` by name.
  at::Tensor recorded(const at::Tensor& x, std::map<std::string, at::Tensor>& outputs) const;

  // The next token of each sequence: x f32 [batch, hidden] in and out; its key and value join the cache.
  at::Tensor step(const at::Tensor& x, KeyValueCache& cache) const;
  KeyValueCache make_cache(int64_t batch, int64_t length) const;

 private:
  using Inputs = std::function<at::Tensor(int64_t first, int64_t count)>;  // rows of a stage's input

  const Linear& at_stage(size_t stage, size_t position) const;
  const at::Tensor& norm(const char* name) const;  // undefined when the family has no such norm
  const at::Tensor& norm_after_attention() const;
  const at::Tensor& norm_after_mlp() const;
  at::Tensor attention(const Inputs& inputs, int64_t sequences, int64_t length) const;
  void gated(const at::Tensor& input, at::Tensor out) const;

  std::shared_ptr<const DecoderConfig> config_;
  int64_t index_;
  at::ScalarType dtype_;
  std::vector<std::vector<std::string>> stages_;
  std::map<std::string, Linear> linears_;
  std::map<std::string, at::Tensor> norms_;  // "input_layernorm" -> [hidden] f32, Gemma's + 1 added
};

class Decoder {
 public:
  // Keeps a reference to `files`. UnsupportedError, InputError (a tensor missing or of the wrong shape) as it opens;
  // reads nothing but the final norm.
  explicit Decoder(const ModelFiles& files, at::ScalarType dtype = at::kFloat);

  const DecoderConfig& config() const { return *config_; }
  at::ScalarType dtype() const { return dtype_; }
  DecoderBlock block(int64_t index) const;
  at::Tensor embed(const at::Tensor& ids) const;          // ids int64 [batch, length] -> f32 [batch, length, hidden]
  at::Tensor final_norm(const at::Tensor& hidden) const;  // what the head multiplies, compute dtype
  at::Tensor recorded_final_norm(const at::Tensor& hidden) const;  // as DecoderBlock::recorded is to forward
  // Rows of the head, [count, hidden] in compute dtype: read from the files each time, unless the head is held.
  at::Tensor head_rows(int64_t first, int64_t count) const;
  void hold_head();  // keeps it in memory from here on: for many calls of logits with few rows each
  // Product of normed hidden states with `rows` of the head, soft cap applied: [n, hidden] -> f32 [n, rows].
  at::Tensor head_logits(const at::Tensor& normed, const at::Tensor& rows) const;
  at::Tensor logits(const at::Tensor& hidden) const;  // final norm and head: [..., hidden] -> f32 [..., vocab]
  // All blocks, each loaded once and dropped: [batch, length] -> f32 [batch, length, hidden] before the final norm.
  // `after_block` is called with each block's index once it is done.
  at::Tensor hidden(const at::Tensor& ids, const std::function<void(int64_t)>& after_block = {}) const;
  // The names of every linear that compression may touch, block by block (no embeddings, no head).
  static std::vector<std::string> linear_names(const DecoderConfig& config);

 private:
  const ModelFiles* files_;
  std::shared_ptr<const DecoderConfig> config_;
  at::ScalarType dtype_;
  Weight embedding_;  // a view of the file
  Weight head_;       // the same where they are tied
  at::Tensor final_norm_, held_head_;
};

}  // namespace pare
