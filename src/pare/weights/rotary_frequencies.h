// How fast each pair of a head turns with the position, for every kind of rope scaling that DecoderConfig has.
#pragma once

#include <cstdint>
#include <vector>

#include "pare/weights/decoder_config.h"

namespace pare {

// [head_dim / 2], radians a position. In f32 and in the order that transformers computes them, so that positions in the
// thousands turn by the same angles.
std::vector<float> rotary_frequencies(const Rope& rope, int64_t head_dim);
// Multiplies cosine and sine (yarn); 1 elsewhere.
double rotary_attention_factor(const RopeScaling& scaling);

}  // namespace pare
