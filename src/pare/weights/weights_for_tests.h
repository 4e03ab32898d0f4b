// Random weights for the tests of this folder.
#pragma once

#include <algorithm>
#include <vector>

#include "pare/base/float_types.h"
#include "pare/base/random.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/weight.h"

namespace pare {

struct RandomInts {
  int64_t rows = 8, cols = 64;
  int bits = 4;
  int64_t group = 32;
  bool symmetric = true;
  Dtype scale_dtype = Dtype::f16;
  bool shuffled_groups = false;
  bool ternary = false;
  bool masked = false;  // about half kept
  uint64_t seed = 1;
};

inline Mask random_mask(int64_t rows, int64_t cols, uint64_t seed) {
  const CounterRandom random(seed, "mask");
  Mask mask;
  const int64_t row_bytes = packed_bytes(cols, 1);
  mask.bits.resize(static_cast<size_t>(rows * row_bytes));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      if (random.bits(static_cast<uint64_t>(r * cols + c)) & 1) {
        uint8_t& byte = mask.bits[static_cast<size_t>(r * row_bytes + c / 8)];
        byte = static_cast<uint8_t>(byte | (1 << (c % 8)));
      }
    }
  }
  return mask;
}

inline Mask two_of_four_mask(int64_t rows, int64_t cols, uint64_t seed) {
  constexpr uint8_t kQuads[] = {0b0011, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100};
  const CounterRandom random(seed, "2:4");
  Mask mask{{}, 2, 4};
  const int64_t row_bytes = packed_bytes(cols, 1);
  mask.bits.resize(static_cast<size_t>(rows * row_bytes));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; c += 4) {
      uint8_t& byte = mask.bits[static_cast<size_t>(r * row_bytes + c / 8)];
      byte = static_cast<uint8_t>(byte | (kQuads[random.below(static_cast<uint64_t>(r * cols + c), 6)] << (c % 8)));
    }
  }
  return mask;
}

inline Weight random_ints(const RandomInts& wish) {
  const CounterRandom random(wish.seed, "ints");
  const int64_t groups = (wish.cols + wish.group - 1) / wish.group;
  GroupedInts ints{.bits = wish.bits,
                   .group = wish.group,
                   .symmetric = wish.symmetric,
                   .scale_dtype = wish.scale_dtype,
                   .ternary = wish.ternary};
  uint64_t drawn = 0;
  const uint64_t levels = wish.ternary ? 3 : uint64_t{1} << wish.bits;
  const int64_t row_bytes = packed_bytes(wish.cols, wish.bits);
  ints.codes.resize(static_cast<size_t>(wish.rows * row_bytes));
  std::vector<uint8_t> codes(static_cast<size_t>(wish.cols));
  for (int64_t r = 0; r < wish.rows; ++r) {
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random.below(drawn++, levels));
    pack_bits(codes, wish.bits,
              std::span(ints.codes).subspan(static_cast<size_t>(r * row_bytes), static_cast<size_t>(row_bytes)));
  }
  for (int64_t i = 0; i < wish.rows * groups; ++i) {
    const float scale = static_cast<float>(random.uniform(drawn++)) + 0.01f;
    ints.scales.push_back(wish.scale_dtype == Dtype::f16    ? f16_to_float(float_to_f16(scale))
                          : wish.scale_dtype == Dtype::bf16 ? bf16_to_float(float_to_bf16(scale))
                                                            : scale);
    if (!wish.symmetric) ints.zeros.push_back(static_cast<uint8_t>(random.below(drawn++, levels)));
  }
  if (wish.shuffled_groups) {
    for (int64_t c = 0; c < wish.cols; ++c) {
      ints.group_index.push_back(static_cast<int32_t>((wish.cols - 1 - c) / wish.group));
    }
  }
  Weight weight{{wish.rows, wish.cols}, std::move(ints), {}};
  if (wish.masked) weight.mask = random_mask(wish.rows, wish.cols, wish.seed);
  return weight;
}

}  // namespace pare
