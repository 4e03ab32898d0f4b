// A decoder held in memory, run without torch: tokens in, logits out.
//
// The same computation as nn/decoder.h (residual stream, norms, softmax and rotations in f32), with keys and values
// cached for each sequence. Several sequences, each with any number of new tokens, go through together: one pass over
// the weights serves them all. What a sequence gets does not depend on which others go along, nor on the number of
// threads, to the last bit.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "pare/kernels/matrix.h"
#include "pare/kernels/thread_pool.h"
#include "pare/weights/decoder_config.h"
#include "pare/weights/model_files.h"

namespace pare {

enum class CacheType { f16, int8 };  // int8: a scale for each token and head; half of the memory

struct RuntimeOptions {
  int64_t context = 0;  // tokens a sequence can hold; 0: the model's own, at most 8192
  CacheType cache = CacheType::f16;
  Precision precision = Precision::int8;
  int64_t batch = 512;      // tokens that go through together at most; more are taken in turns
  TuningTable tuning = {};  // what `pare tune` found; speed only
};

// Keys and values of one sequence's tokens. Memory is taken as it fills.
class Sequence {
 public:
  ~Sequence();
  int64_t length() const;
  int64_t capacity() const;
  void truncate(int64_t length);  // forgets the tokens from `length` on
  // A sequence that begins with this one's first `length` tokens (copied).
  std::unique_ptr<Sequence> fork(int64_t length) const;
  uint64_t bytes() const;

  struct Impl;
  Impl& impl() { return *impl_; }
  const Impl& impl() const { return *impl_; }
  explicit Sequence(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

// One sequence's part of a pass.
struct SequenceStep {
  Sequence* sequence = nullptr;     // each at most once in a pass
  std::span<const int32_t> tokens;  // new ones, appended; at least 1
  int64_t logits = 1;               // of how many of the last tokens logits are wanted: 0, 1 .. tokens.size()
};

class Model {
 public:
  // Reads all weights. ResourceError, before anything is read, when they do not fit in memory; InputError and
  // UnsupportedError as Decoder has them, but that matrices are not searched for NaN: those show in the logits, where
  // the Sampler names them. `pool` must outlive the model.
  static Model load(const ModelFiles& files, const RuntimeOptions& options, ThreadPool& pool);

  const DecoderConfig& config() const;
  const RuntimeOptions& options() const;
  int64_t context() const;
  int64_t vocab_size() const;
  uint64_t weight_bytes() const;  // in memory
  uint64_t token_bytes() const;   // of weights read for one token: what decoding is measured against

  std::unique_ptr<Sequence> new_sequence() const;
  // Logits of the wanted tokens, steps in order, tokens in order: f32 [wanted, vocab_size], valid until the next call.
  // InputError for ids out of range or a sequence that would grow past its context. If it throws, no sequence changed.
  // One call at a time.
  std::span<const float> forward(std::span<const SequenceStep> steps);
  // The normed hidden states instead, f32 [wanted, hidden]: for embeddings.
  std::span<const float> hidden(std::span<const SequenceStep> steps);

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace pare
