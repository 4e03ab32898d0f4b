// Llama-3's rope scaling as GGUF keeps it: rope_freqs.weight, a divisor for each of the head_dim/2 frequencies.
//
//   f_i = theta^(-2i/head_dim),  wave length 2 pi / f_i,  lo, hi = low_freq_factor, high_freq_factor
//   old = original_max_position_embeddings
//   wave length < old/hi: 1;   > old/lo: factor;   between: 1 / ((1 - t)/factor + t),  t = (old/length - lo)/(hi - lo)
//
// The way back is not unique: (old, lo, hi) times any number makes the same divisors, so lo = 1 is chosen, as every
// published Llama has it. In between t is linear in f, which gives old and hi by least squares; the answer counts only
// if it makes the divisors again.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "pare/weights/decoder_config.h"

namespace pare {

std::vector<float> rope_divisors(const RopeScaling& scaling, double theta, int64_t head_dim);  // type llama3
// Nothing when no llama3 scaling makes these divisors. All ones: type none.
std::optional<RopeScaling> fit_llama3(std::span<const float> divisors, double theta);

}  // namespace pare
