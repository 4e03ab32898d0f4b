#include "pare/weights/stored_tensor.h"

#include <algorithm>

#include "pare/base/checked.h"
#include "pare/base/error.h"

namespace pare {

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (int64_t dim : shape) text += (text.size() > 1 ? ", " : "") + (dim < 0 ? "any" : std::to_string(dim));
  return text + "]";
}

void expect_stored(const StoredView& view, std::initializer_list<Dtype> dtypes, std::span<const int64_t> shape) {
  if (std::find(dtypes.begin(), dtypes.end(), view.dtype) == dtypes.end()) {
    std::string wanted;
    for (Dtype dtype : dtypes) wanted += (wanted.empty() ? "" : " or ") + std::string(name_of(dtype));
    throw InputError(view.name + ": type " + std::string(name_of(view.dtype)) + ", expected " + wanted);
  }
  const bool same = view.shape.size() == shape.size() &&
                    std::equal(shape.begin(), shape.end(), view.shape.begin(), [](int64_t wanted, int64_t found) {
                      return wanted == found || (wanted < 0 && found >= 0);
                    });
  if (!same) {
    throw InputError(view.name + ": shape " + shape_text(view.shape) + ", expected " + shape_text(shape));
  }
  const auto count = checked_product<int64_t>(view.shape);
  const auto bytes = count ? checked_mul(*count, size_of(view.dtype)) : std::nullopt;
  if (!bytes || static_cast<int64_t>(view.data.size()) != *bytes) {
    throw InputError(view.name + ": " + std::to_string(view.data.size()) + " bytes do not make shape " +
                     shape_text(view.shape) + " of " + std::string(name_of(view.dtype)));
  }
}

}  // namespace pare
