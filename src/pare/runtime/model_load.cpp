#include <algorithm>
#include <cmath>
#include <deque>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/base/resources.h"
#include "pare/base/units.h"
#include "pare/runtime/model_parts.h"
#include "pare/weights/decoder_parameters.h"
#include "pare/weights/rotary_frequencies.h"

namespace pare {
namespace {

constexpr int64_t kUsualContext = 8192, kLeastContext = 512;

class Loader {
 public:
  Loader(const ModelFiles& files, Model::Impl& model) : files_(files), m_(model) {}

  RuntimeLinear linear(const std::string& name, bool biased) {
    RuntimeLinear result{matrix(name + ".weight"), {}};
    if (biased) result.bias = vector(name + ".bias");
    return result;
  }

  Matrix matrix(const std::string& name) {
    const Matrix result = Matrix::prepare(files_.read(name), m_.pool, &m_.options.tuning);
    release(name);
    m_.weight_bytes += result.bytes();
    m_.token_bytes += result.bytes();
    return result;
  }

  std::vector<float> vector(const std::string& name) {
    std::vector<float> values = files_.read(name).unpack();
    m_.weight_bytes += values.size() * sizeof(float);
    for (size_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(values[i])) {
        throw InputError(files_.path().string() + ": " + name + ": value " + std::to_string(values[i]) + " at " +
                         std::to_string(i) +
                         ", expected finite numbers. The file is damaged or the training went wrong; get it again.");
      }
    }
    return values;
  }

  std::vector<float> norm(const std::string& name) {
    std::vector<float> values = vector(name);
    if (m_.config.norm_plus_one) {
      for (float& value : values) value += 1;
    }
    return values;
  }

 private:
  // Repacked: the file's own pages are not read again. A page that is read can bring back the ones around it, up to
  // 2 MB of them, so the last few go again.
  void release(const std::string& name) {
    released_.push_back(name);
    if (released_.size() > 16) released_.pop_front();
    for (const std::string& one : released_) files_.release(one);
  }

  const ModelFiles& files_;
  Model::Impl& m_;
  std::deque<std::string> released_;
};

RotaryRows rotary_rows(const Rope& rope, int64_t head_dim, int64_t positions) {
  const std::vector<float> frequencies = rotary_frequencies(rope, head_dim);
  const auto factor = static_cast<float>(rotary_attention_factor(rope.scaling));
  RotaryRows rows;
  rows.cosine.reserve(frequencies.size() * static_cast<size_t>(positions));
  rows.sine.reserve(frequencies.size() * static_cast<size_t>(positions));
  for (int64_t position = 0; position < positions; ++position) {
    for (float frequency : frequencies) {
      const float angle = static_cast<float>(position) * frequency;
      rows.cosine.push_back(std::cos(angle) * factor);
      rows.sine.push_back(std::sin(angle) * factor);
    }
  }
  return rows;
}

// What a sequence may hold, for which memory is there beside the weights: asked for, or the model's own and at most
// kUsualContext, or less where that would not fit. ResourceError where even the weights do not.
int64_t fitting_context(const ModelFiles& files, const RuntimeOptions& options, int64_t own, uint64_t token_bytes) {
  uint64_t weights = uint64_t{64} << 20;
  for (const ParameterInfo& parameter : files.parameters()) weights += prepared_bytes(parameter.form);
  const uint64_t available = available_memory_bytes();
  const auto fits = [&](int64_t tokens) { return weights + static_cast<uint64_t>(tokens) * token_bytes <= available; };
  const std::string name = files.path().string();
  if (!fits(std::min(own, kLeastContext))) {
    throw ResourceError(name + ": its weights take about " + format_bytes(weights) + " of memory and " +
                        format_bytes(available) + " are free. Close other programs, or compress the model further");
  }
  if (options.context > 0) {
    if (fits(options.context)) return options.context;
    throw ResourceError(name + ": --context " + std::to_string(options.context) + " takes " +
                        format_bytes(static_cast<uint64_t>(options.context) * token_bytes) + " beside " +
                        format_bytes(weights) + " of weights, and " + format_bytes(available) +
                        " are free. Ask for fewer tokens, or halve what each takes with --cache int8");
  }
  int64_t context = std::min(own, kUsualContext);
  while (!fits(context)) context /= 2;
  if (context < std::min(own, kUsualContext)) {
    log_line(Level::warning, name + ": " + std::to_string(context) + " tokens of context fit beside the weights in " +
                                 format_bytes(available) + " of free memory; --cache int8 holds twice as many");
  }
  return context;
}

Block load_block(Loader& loader, const DecoderConfig& c, int64_t index) {
  const auto names = c.linear_stages(index);
  const std::string prefix = c.block_prefix(index);
  Block b;
  b.q = loader.linear(names[0][0], c.attention_bias);
  b.k = loader.linear(names[0][1], c.attention_bias);
  b.v = loader.linear(names[0][2], c.attention_bias);
  b.o = loader.linear(names[1][0], c.output_bias);
  b.gate = loader.linear(names[2][0], c.mlp_bias);
  b.up = loader.linear(names[2][1], c.mlp_bias);
  b.down = loader.linear(names[3][0], c.mlp_bias);
  const auto norm = [&](const std::string& name) { return loader.norm(prefix + name + ".weight"); };
  b.input_norm = norm("input_layernorm");
  b.mlp_norm = norm(c.mlp_norm_name());
  if (c.post_norms) {
    b.after_attention_norm = norm("post_attention_layernorm");
    b.after_mlp_norm = norm("post_feedforward_layernorm");
  }
  if (c.qk_norm) {
    b.q_norm = norm("self_attn.q_norm");
    b.k_norm = norm("self_attn.k_norm");
  }
  return b;
}

}  // namespace

Model Model::load(const ModelFiles& files, const RuntimeOptions& options, ThreadPool& pool) {
  auto impl = std::make_shared<Impl>(pool);
  impl->config = checked_decoder_config(files);
  const DecoderConfig& c = impl->config;
  impl->options = options;
  impl->name = files.path().string();
  const int64_t own = c.max_positions > 0 ? c.max_positions : kUsualContext;
  if (options.context < 0 || options.context > own) {
    throw UsageError("--context " + std::to_string(options.context) + ": this model was made for up to " +
                     std::to_string(own) + " tokens");
  }
  PARE_ASSERT(options.batch >= 1);
  impl->options.context = fitting_context(files, options, own, impl->cache_shape().bytes_per_token());

  Loader loader(files, *impl);
  // The largest first: while a matrix is packed it is there twice.
  impl->head = loader.matrix((c.tied_embeddings ? c.prefix + "embed_tokens" : c.head_name) + ".weight");
  for (int64_t i = 0; i < c.layers; ++i) impl->blocks.push_back(load_block(loader, c, i));
  impl->final_norm = loader.norm(c.prefix + "norm.weight");
  impl->embedding = files.read(c.prefix + "embed_tokens.weight");
  impl->token_bytes += static_cast<uint64_t>(impl->embedding.bytes() / static_cast<uint64_t>(c.vocab_size));
  impl->rotary = rotary_rows(c.rope, c.head_dim, impl->options.context);
  if (!(c.local_rope == c.rope)) {
    impl->local_rotary = rotary_rows(c.local_rope, c.head_dim, impl->options.context);
  }
  impl->hidden_rows = Activations(c.hidden, options.precision);
  impl->attention_rows = Activations(c.heads * c.head_dim, options.precision);
  impl->inner_rows = Activations(c.intermediate, options.precision);
  Model model;
  model.impl_ = std::move(impl);
  return model;
}

}  // namespace pare
