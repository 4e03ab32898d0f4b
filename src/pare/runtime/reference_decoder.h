// For tests: the decoder by its definition, in double, one loop after the other.
//
// Keys and values may be rounded as a cache rounds them. What is left between this and the runtime is then the order of
// sums in f32, and a bound can be so tight that a mistake does not hide behind the cache's rounding.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "pare/base/float_types.h"
#include "pare/weights/decoder_parameters.h"
#include "pare/weights/model_files.h"
#include "pare/weights/rotary_frequencies.h"

namespace pare {

enum class RoundedTo { nothing, f16, int8 };

class ReferenceDecoder {
 public:
  ReferenceDecoder(const ModelFiles& files, RoundedTo rounded)
      : files_(files), c_(checked_decoder_config(files)), rounded_(rounded) {}

  // [tokens, vocab]
  std::vector<double> logits(std::span<const int32_t> ids) {
    const auto count = static_cast<int64_t>(ids.size());
    const std::string embedding = c_.prefix + "embed_tokens.weight";
    const float scale = c_.scale_embeddings ? std::sqrt(static_cast<float>(c_.hidden)) : 1.0f;
    Rows x;
    for (int32_t id : ids) {
      x.emplace_back();
      for (int64_t i = 0; i < c_.hidden; ++i) x.back().push_back(number(embedding, id * c_.hidden + i) * scale);
    }
    for (int64_t layer = 0; layer < c_.layers; ++layer) block(layer, x);
    std::vector<double> result;
    for (int64_t t = 0; t < count; ++t) {
      const Row normed = norm(x[static_cast<size_t>(t)], c_.prefix + "norm.weight");
      for (double logit : product(c_.tied_embeddings ? c_.prefix + "embed_tokens" : c_.head_name, normed, false)) {
        result.push_back(capped(logit, c_.logit_softcap));
      }
    }
    return result;
  }

 private:
  using Row = std::vector<double>;
  using Rows = std::vector<Row>;

  const std::vector<float>& values(const std::string& name) {
    auto& known = read_[name];
    if (known.empty()) known = files_.read(name).unpack();
    return known;
  }
  double number(const std::string& name, int64_t i) { return values(name)[static_cast<size_t>(i)]; }
  static double capped(double v, double cap) { return cap == 0 ? v : cap * std::tanh(v / cap); }

  Row product(const std::string& name, const Row& x, bool biased) {
    const std::vector<float>& w = values(name + ".weight");
    Row y(w.size() / x.size());
    for (size_t r = 0; r < y.size(); ++r) {
      for (size_t i = 0; i < x.size(); ++i) y[r] += w[r * x.size() + i] * x[i];
      if (biased) y[r] += number(name + ".bias", static_cast<int64_t>(r));
    }
    return y;
  }

  Row norm(const Row& x, const std::string& name) {
    double squares = 0;
    for (double v : x) squares += v * v;
    Row y;
    for (double v : x) {
      const double weight = number(name, static_cast<int64_t>(y.size())) + (c_.norm_plus_one ? 1 : 0);
      y.push_back(v / std::sqrt(squares / static_cast<double>(x.size()) + c_.norm_eps) * weight);
    }
    return y;
  }

  // Head by head: norm, rotation.
  void turn(Row& x, const std::string& norm_name, int64_t layer, size_t position) {
    const auto dim = static_cast<size_t>(c_.head_dim), half = dim / 2;
    const Rope& rope = c_.rope_of(layer);
    const std::vector<float> frequencies = rotary_frequencies(rope, c_.head_dim);
    const double factor = rotary_attention_factor(rope.scaling);
    for (size_t at = 0; at < x.size(); at += dim) {
      const auto first = x.begin() + static_cast<int64_t>(at);
      Row head(first, first + c_.head_dim);
      if (c_.qk_norm) head = norm(head, norm_name);
      for (size_t i = 0; i < half && c_.layer_has_rope[static_cast<size_t>(layer)]; ++i) {
        const double angle = static_cast<float>(position) * frequencies[i], a = head[i], b = head[half + i];
        head[i] = (a * std::cos(angle) - b * std::sin(angle)) * factor;
        head[half + i] = (b * std::cos(angle) + a * std::sin(angle)) * factor;
      }
      std::copy(head.begin(), head.end(), first);
    }
  }

  void round_heads(Row& x) const {
    const auto dim = static_cast<size_t>(c_.head_dim);
    for (size_t at = 0; at < x.size(); at += dim) {
      const auto head = std::span(x).subspan(at, dim);
      double largest = 0;
      for (double v : head) largest = std::max(largest, std::fabs(v));
      for (double& v : head) {
        if (rounded_ == RoundedTo::f16) v = f16_to_float(float_to_f16(static_cast<float>(v)));
        if (rounded_ == RoundedTo::int8) v = std::nearbyint(v * 127 / largest) * largest / 127;
      }
    }
  }

  void block(int64_t layer, Rows& x) {
    const std::string prefix = c_.block_prefix(layer);
    const auto names = c_.linear_stages(layer);
    Rows keys, kept_values;
    for (size_t t = 0; t < x.size(); ++t) {
      const Row normed = norm(x[t], prefix + "input_layernorm.weight");
      Row q = product(names[0][0], normed, c_.attention_bias), k = product(names[0][1], normed, c_.attention_bias),
          v = product(names[0][2], normed, c_.attention_bias);
      turn(q, prefix + "self_attn.q_norm.weight", layer, t);
      turn(k, prefix + "self_attn.k_norm.weight", layer, t);
      round_heads(k);
      round_heads(v);
      keys.push_back(k);
      kept_values.push_back(v);
      Row out = product(names[1][0], attention(layer, q, keys, kept_values), c_.output_bias);
      if (c_.post_norms) out = norm(out, prefix + "post_attention_layernorm.weight");
      for (size_t i = 0; i < out.size(); ++i) x[t][i] += out[i];

      const Row between = norm(x[t], prefix + c_.mlp_norm_name() + ".weight");
      Row gate = product(names[2][0], between, c_.mlp_bias);
      const Row up = product(names[2][1], between, c_.mlp_bias);
      for (size_t i = 0; i < gate.size(); ++i) {
        const double g = gate[i];
        const double gelu = 0.5 * g * (1 + std::tanh(std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g)));
        gate[i] = (c_.activation == Activation::silu ? g / (1 + std::exp(-g)) : gelu) * up[i];
      }
      out = product(names[3][0], gate, c_.mlp_bias);
      if (c_.post_norms) out = norm(out, prefix + "post_feedforward_layernorm.weight");
      for (size_t i = 0; i < out.size(); ++i) x[t][i] += out[i];
    }
  }

  // Of the newest token.
  Row attention(int64_t layer, const Row& q, const Rows& keys, const Rows& kept_values) const {
    const auto dim = static_cast<size_t>(c_.head_dim), count = keys.size();
    const auto window = static_cast<size_t>(c_.sliding_window);
    const bool sliding = c_.layer_is_sliding[static_cast<size_t>(layer)] && window > 0;
    const size_t first = sliding && count > window ? count - window : 0;
    Row out(q.size());
    for (size_t h = 0; h < static_cast<size_t>(c_.heads); ++h) {
      const size_t shared = h / static_cast<size_t>(c_.heads / c_.kv_heads) * dim;
      Row weights;
      for (size_t p = first; p < count; ++p) {
        double s = 0;
        for (size_t d = 0; d < dim; ++d) s += q[h * dim + d] * keys[p][shared + d];
        weights.push_back(capped(s * c_.attention_scale, c_.attention_softcap));
      }
      const double most = *std::max_element(weights.begin(), weights.end());
      double sum = 0;
      for (double& w : weights) sum += w = std::exp(w - most);
      for (size_t p = first; p < count; ++p) {
        for (size_t d = 0; d < dim; ++d) out[h * dim + d] += weights[p - first] / sum * kept_values[p][shared + d];
      }
    }
    return out;
  }

  const ModelFiles& files_;
  DecoderConfig c_;
  RoundedTo rounded_;
  std::map<std::string, std::vector<float>> read_;
};

}  // namespace pare
