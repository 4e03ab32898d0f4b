// The sums of codebook entries (AdditiveCodes) that come nearest to a matrix: least squared error, without calibration.
//
// Rows are scaled to a root mean square of one; residual k-means gives the first codebooks (Egiazarian et al. 2024,
// section 3.1); then codes given codebooks (greedy, then each in turn with the others fixed) and codebooks given codes
// (weighted means, each in turn) alternate. At the end codes are chosen with a beam over the first book, and each row
// gets its least squares scale. The same bytes on any number of threads.
#pragma once

#include <string>

#include "pare/weights/aqlm_layout.h"
#include "pare/weights/weight.h"

namespace pare {

// Empty, or why there is no fit of such a scheme to a matrix of this shape. Codebooks of more than 4096 entries are
// read and copied, not fitted: on a CPU that takes hours.
std::string additive_why_not(const AqlmScheme& scheme, std::span<const int64_t> shape);

// Codebooks and scales as F16. InputError naming `name` and the row where a value is not finite or beyond F16.
Weight additive_codes(const Weight& weight, const AqlmScheme& scheme, const std::string& name);

}  // namespace pare
