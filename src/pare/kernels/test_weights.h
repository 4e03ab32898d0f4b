// Random weights of every kind that a Matrix takes, for tests and benchmarks of kernels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pare/weights/weight.h"

namespace pare {

// "int4", "int3-g64", "int4-g32-zeros", "int8-row", "ternary", "Q4_0", "Q6_K", "F16"; groups of 128 unless said,
// scales f16 unless "-bf16" or "-f32" is among the words; "-index" has columns of groups mixed, "-mask" removes half.
Weight random_weight(const std::string& kind, int64_t rows, int64_t cols, uint64_t seed);
const std::vector<std::string>& weight_kinds();    // all that tests go through
int64_t column_multiple(const std::string& kind);  // that the columns must be of

}  // namespace pare
