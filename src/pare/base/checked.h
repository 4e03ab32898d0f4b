// Size arithmetic that cannot wrap. Everything computed from a file's own figures goes through here.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace pare {

// Of a count that is known not to be negative.
constexpr size_t as_size(int64_t count) {
  return static_cast<size_t>(count);
}

template <std::integral T>
std::optional<T> checked_add(T a, T b) {
  T result;
  if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
  return result;
}

template <std::integral T>
std::optional<T> checked_mul(T a, T b) {
  T result;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

// Product of all dimensions; nothing when it does not fit or a dimension is negative. Rank 0 has one element.
template <std::integral T>
std::optional<T> checked_product(std::span<const T> dims) {
  T product = 1;
  bool zero = false;  // a zero among the dimensions must not hide an overflow of the others
  for (T dim : dims) {
    if (dim < 0) return std::nullopt;
    if (dim == 0) {
      zero = true;
      continue;
    }
    if (__builtin_mul_overflow(product, dim, &product)) return std::nullopt;
  }
  return zero ? T{0} : product;
}

}  // namespace pare
