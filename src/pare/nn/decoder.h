// The decoder, a block at a time, from files that stay on disk.
//
//   x = embed(ids)
//   for each block:  a = norm1(x);  x += o(attention(q(a), k(a), v(a)));  m = norm2(x);  x += down(act(gate(m)) *
//   up(m)) logits = head(norm(x))
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
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "pare/nn/decoder_config.h"
#include "pare/weights/model_files.h"

namespace pare {

struct Linear {
  std::string name;   // "model.layers.0.self_attn.q_proj"; its parameter is name + ".weight"
  at::Tensor weight;  // [out, in], compute dtype
  at::Tensor bias;    // [out] or undefined
};

struct BlockState {
  size_t stage = 0;
  at::Tensor residual;  // [batch, length, hidden]
  at::Tensor input;     // [batch, length, in] of the stage's linears; undefined after the last
};

class DecoderBlock {
 public:
  // Reads block `index` from the files. `dtype`: at::kFloat or at::kBFloat16.
  DecoderBlock(const ModelFiles& files, const DecoderConfig& config, int64_t index, at::ScalarType dtype);

  int64_t index() const { return index_; }
  const std::vector<std::vector<std::string>>& stages() const { return stages_; }  // names of linears
  Linear& linear(const std::string& name);
  std::vector<std::string> linear_names() const;

  BlockState begin(const at::Tensor& x) const;  // x [batch, length, hidden]
  void advance(BlockState& state) const;
  at::Tensor forward(const at::Tensor& x) const;  // all stages

 private:
  const DecoderConfig* config_;
  int64_t index_;
  at::ScalarType dtype_;
  std::vector<std::vector<std::string>> stages_;
  std::map<std::string, Linear> linears_;
  std::map<std::string, at::Tensor> norms_;
};

class Decoder {
 public:
  // Keeps a reference to `files`. UnsupportedError, InputError (a tensor missing or of the wrong shape) as it opens.
  Decoder(const ModelFiles& files, at::ScalarType dtype = at::kFloat);

  const DecoderConfig& config() const { return config_; }
  DecoderBlock block(int64_t index) const;
  at::Tensor embed(const at::Tensor& ids) const;      // ids int64 [batch, length] -> [batch, length, hidden]
  at::Tensor logits(const at::Tensor& hidden) const;  // final norm and head: [..., hidden] -> f32 [..., vocab]
  // All blocks, each loaded once and dropped: [batch, length] -> [batch, length, hidden] before the final norm.
  at::Tensor hidden(const at::Tensor& ids, int64_t batch_tokens = 2048) const;
  // The names of every linear that compression may touch, block by block (no embeddings, no head).
  static std::vector<std::string> linear_names(const DecoderConfig& config);

 private:
  const ModelFiles* files_;
  DecoderConfig config_;
  at::ScalarType dtype_;
  at::Tensor embedding_, final_norm_, head_;
};

}  // namespace pare
