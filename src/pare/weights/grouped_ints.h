// What the writers of GPTQ and compressed-tensors share.
#pragma once

#include "pare/weights/weight.h"
#include "pare/weights/weight_form.h"

namespace pare {

// The same values with nothing but codes, scales and zeros: removed weights get the code of zero (exact on these
// grids), ternary becomes symmetric 2-bit (codes 1..3 around 2). The base must be GroupedInts.
GroupedInts plain_ints(const Weight& weight);
WeightForm plain_ints(const WeightForm& form);

inline int64_t groups_in(int64_t cols, int64_t group) {
  return (cols + group - 1) / group;
}
// True when every column is of group c / group, which is what an absent group index says.
bool is_plain_order(std::span<const int32_t> group_index, int64_t group);
// dst[c, r] = src[r, c], 32-bit words, in tiles: both GPTQ's codes and its zeros are our words transposed.
void transpose_words(const uint32_t* src, int64_t rows, int64_t cols, uint32_t* dst);

}  // namespace pare
