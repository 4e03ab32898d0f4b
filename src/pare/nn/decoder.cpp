#include "pare/nn/decoder.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/nn/rms_norm.h"
#include "pare/nn/to_tensor.h"
#include "pare/weights/decoder_parameters.h"

namespace pare {
namespace {

constexpr int64_t kVocabPiece = 8192;

}  // namespace

Decoder::Decoder(const ModelFiles& files, at::ScalarType dtype) : files_(&files), dtype_(dtype) {
  PARE_ASSERT(dtype == at::kFloat || dtype == at::kBFloat16);
  const auto config = std::make_shared<const DecoderConfig>(checked_decoder_config(files));
  config_ = config;
  embedding_ = files.read(config->prefix + "embed_tokens.weight");
  head_ = config->tied_embeddings ? embedding_ : files.read(config->head_name + ".weight");
  final_norm_ = to_tensor(files.read(config->prefix + "norm.weight"));
  if (config->norm_plus_one) final_norm_.add_(1);
}

DecoderBlock Decoder::block(int64_t index) const {
  return DecoderBlock(*files_, config_, index, dtype_);
}

at::Tensor Decoder::embed(const at::Tensor& ids) const {
  PARE_ASSERT(ids.scalar_type() == at::kLong && ids.dim() == 2);
  const at::Tensor flat = ids.contiguous();
  const int64_t* id = flat.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < flat.numel(); ++i) {
    if (id[i] < 0 || id[i] >= config_->vocab_size) {
      throw InputError(files_->path().string() + ": token id " + std::to_string(id[i]) + " is outside the model's " +
                       std::to_string(config_->vocab_size) + " tokens; is this the model's own tokenizer?");
    }
  }
  const int64_t hidden = config_->hidden;
  at::Tensor x = at::empty({ids.size(0), ids.size(1), hidden}, at::kFloat);
  float* dst = x.mutable_data_ptr<float>();
  at::parallel_for(0, flat.numel(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      embedding_.unpack_rows(id[i], 1, {dst + i * hidden, static_cast<size_t>(hidden)});
    }
  });
  if (dtype_ != at::kFloat) x = x.to(dtype_);
  if (config_->scale_embeddings) {
    // Gemma was trained with sqrt(hidden) rounded to its type
    x.mul_(at::scalar_tensor(std::sqrt(static_cast<double>(hidden)), at::kFloat).to(dtype_));
  }
  return x.to(at::kFloat);
}

at::Tensor Decoder::final_norm(const at::Tensor& hidden) const {
  return rms_norm(hidden, final_norm_, config_->norm_eps, dtype_);
}

at::Tensor Decoder::head_rows(int64_t first, int64_t count) const {
  if (held_head_.defined()) return held_head_.narrow(0, first, count);
  at::Tensor rows = at::empty({count, config_->hidden}, at::kFloat);
  float* dst = rows.mutable_data_ptr<float>();
  const int64_t hidden = config_->hidden;
  at::parallel_for(0, count, std::max<int64_t>(1, 32768 / hidden), [&](int64_t begin, int64_t end) {
    head_.unpack_rows(first + begin, end - begin, {dst + begin * hidden, static_cast<size_t>((end - begin) * hidden)});
  });
  return rows.to(dtype_);
}

void Decoder::hold_head() {
  if (!held_head_.defined()) held_head_ = to_tensor(head_, dtype_);
}

at::Tensor Decoder::head_logits(const at::Tensor& normed, const at::Tensor& rows) const {
  at::Tensor logits = at::mm(normed, rows.t()).to(at::kFloat);
  if (const double cap = config_->logit_softcap; cap != 0) logits.div_(cap).tanh_().mul_(cap);
  return logits;
}

at::Tensor Decoder::logits(const at::Tensor& hidden) const {
  const at::Tensor normed = final_norm(hidden).view({-1, config_->hidden});
  std::vector<int64_t> shape = hidden.sizes().vec();
  shape.back() = config_->vocab_size;
  at::Tensor result = at::empty({normed.size(0), config_->vocab_size}, at::kFloat);
  for (int64_t first = 0; first < config_->vocab_size; first += kVocabPiece) {
    const int64_t count = std::min(kVocabPiece, config_->vocab_size - first);
    result.narrow(1, first, count).copy_(head_logits(normed, head_rows(first, count)));
  }
  return result.view(shape);
}

at::Tensor Decoder::hidden(const at::Tensor& ids, const std::function<void(int64_t)>& after_block) const {
  at::Tensor x = embed(ids);
  for (int64_t i = 0; i < config_->layers; ++i) {
    stop_if_interrupted();
    block(i).forward_(x);
    if (after_block) after_block(i);
  }
  return x;
}

std::vector<std::string> Decoder::linear_names(const DecoderConfig& config) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < config.layers; ++i) {
    for (const auto& stage : config.linear_stages(i)) names.insert(names.end(), stage.begin(), stage.end());
  }
  return names;
}

}  // namespace pare
