#include "pare/weights/regrid.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/grouped_ints.h"

namespace pare {
namespace {

float as_stored(float value, Dtype dtype) {
  std::byte stored[4];
  from_float(dtype, &value, 1, stored);
  to_float(dtype, stored, 1, &value);
  return value;
}

}  // namespace

std::optional<Weight> widened_ints(const Weight& weight, int bits, Dtype scale_dtype) {
  GroupedInts ints = plain_ints(weight);
  PARE_ASSERT(bits >= ints.bits && bits <= 8);
  for (const float scale : ints.scales) {
    if (as_stored(scale, scale_dtype) != scale) return std::nullopt;
  }
  ints.scale_dtype = scale_dtype;
  if (bits == ints.bits) return Weight{weight.shape, std::move(ints), {}};
  const int64_t rows = weight.rows(), cols = weight.cols();
  const int shift = ints.symmetric ? (1 << (bits - 1)) - (1 << (ints.bits - 1)) : 0;  // from one middle to the other
  const int64_t src_bytes = packed_bytes(cols, ints.bits), dst_bytes = packed_bytes(cols, bits);
  std::vector<uint8_t> codes(as_size(cols)), wide(as_size(rows * dst_bytes));
  for (int64_t r = 0; r < rows; ++r) {
    unpack_bits(std::span(ints.codes).subspan(as_size(r * src_bytes), as_size(src_bytes)), ints.bits, codes);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(code + shift);
    pack_bits(codes, bits, std::span(wide).subspan(as_size(r * dst_bytes), as_size(dst_bytes)));
  }
  ints.codes = std::move(wide);
  ints.bits = bits;
  return Weight{weight.shape, std::move(ints), {}};
}

Weight rounded_ints(const Weight& weight, int bits, int64_t group, Dtype scale_dtype, const std::string& name) {
  const int64_t rows = weight.rows(), cols = weight.cols(), groups = groups_in(cols, group);
  const int64_t row_bytes = packed_bytes(cols, bits);
  GroupedInts ints{.bits = bits, .group = group, .symmetric = true, .scale_dtype = scale_dtype};
  ints.codes.resize(as_size(rows * row_bytes));
  ints.scales.resize(as_size(rows * groups));
  const int middle = 1 << (bits - 1), highest = (1 << bits) - 1;
  std::vector<float> row(as_size(cols));
  std::vector<uint8_t> codes(as_size(cols));
  for (int64_t r = 0; r < rows; ++r) {
    weight.unpack_rows(r, 1, row);
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t begin = g * group, end = std::min(cols, begin + group);
      float largest = 0;
      for (int64_t c = begin; c < end; ++c) {
        const float size = std::fabs(row[as_size(c)]);
        largest = std::isfinite(size) ? std::max(largest, size) : std::numeric_limits<float>::infinity();
      }
      const float scale = as_stored(2 * largest / static_cast<float>(highest), scale_dtype);
      if (!std::isfinite(scale)) {
        throw InputError(name + ": row " + std::to_string(r) + " holds a value that is not finite or too large for a " +
                         std::string(name_of(scale_dtype)) + " scale");
      }
      ints.scales[as_size(r * groups + g)] = scale;
      for (int64_t c = begin; c < end; ++c) {
        const float place = scale == 0 ? 0 : std::nearbyint(row[as_size(c)] / scale);
        codes[as_size(c)] =
            static_cast<uint8_t>(std::clamp(static_cast<int>(std::clamp(place, -256.0f, 256.0f)) + middle, 0, highest));
      }
    }
    pack_bits(codes, bits, std::span(ints.codes).subspan(as_size(r * row_bytes), as_size(row_bytes)));
  }
  return {weight.shape, std::move(ints), {}};
}

}  // namespace pare
