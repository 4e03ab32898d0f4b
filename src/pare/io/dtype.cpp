#include "pare/io/dtype.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "pare/base/error.h"
#include "pare/base/float_types.h"

namespace pare {
namespace {

struct Row {
  Dtype dtype;
  std::string_view name;
  int64_t bytes;
};
constexpr std::array kTable{
    Row{Dtype::boolean, "BOOL", 1},    Row{Dtype::u8, "U8", 1},           Row{Dtype::i8, "I8", 1},
    Row{Dtype::f8_e5m2, "F8_E5M2", 1}, Row{Dtype::f8_e4m3, "F8_E4M3", 1}, Row{Dtype::i16, "I16", 2},
    Row{Dtype::u16, "U16", 2},         Row{Dtype::f16, "F16", 2},         Row{Dtype::bf16, "BF16", 2},
    Row{Dtype::i32, "I32", 4},         Row{Dtype::u32, "U32", 4},         Row{Dtype::f32, "F32", 4},
    Row{Dtype::i64, "I64", 8},         Row{Dtype::u64, "U64", 8},         Row{Dtype::f64, "F64", 8},
};

const Row& row_of(Dtype dtype) {
  const auto index = static_cast<size_t>(dtype);
  PARE_ASSERT(index < kTable.size() && kTable[index].dtype == dtype);
  return kTable[index];
}

// FP8 E4M3 (finite, no infinity: S.1111.111 is NaN) and E5M2 (IEEE-like), OCP 8-bit floating point specification.
float f8_e4m3_to_float(uint8_t bits) {
  const float sign = (bits & 0x80) != 0 ? -1.0f : 1.0f;
  const int exponent = (bits >> 3) & 15, mantissa = bits & 7;
  if (exponent == 15 && mantissa == 7) return std::nanf("");
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -9);
  return sign * std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
}
float f8_e5m2_to_float(uint8_t bits) {
  return f16_to_float(static_cast<uint16_t>(bits << 8));
}

template <class T, class Convert>
void convert(const std::byte* src, int64_t count, float* dst, const Convert& to) {
  constexpr int64_t kPiece = 64;  // a known number, so that the loop over it becomes vectors
  T values[kPiece];
  for (int64_t first = 0; first < count; first += kPiece) {
    const int64_t left = std::min(kPiece, count - first);
    std::memcpy(values, src + first * static_cast<int64_t>(sizeof(T)), static_cast<size_t>(left) * sizeof(T));
    if (left == kPiece) {
      for (int64_t i = 0; i < kPiece; ++i) dst[first + i] = to(values[i]);
    } else {
      for (int64_t i = 0; i < left; ++i) dst[first + i] = to(values[i]);
    }
  }
}
template <class T>
void convert(const std::byte* src, int64_t count, float* dst) {
  convert<T>(src, count, dst, [](T value) { return static_cast<float>(value); });
}

template <class T, class Convert>
void store(const float* src, int64_t count, std::byte* dst, const Convert& to) {
  for (int64_t i = 0; i < count; ++i) {
    const T value = to(src[i]);
    std::memcpy(dst + i * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
  }
}

}  // namespace

bool is_float(Dtype dtype) {
  return dtype == Dtype::f16 || dtype == Dtype::bf16 || dtype == Dtype::f32 || dtype == Dtype::f64;
}

int64_t size_of(Dtype dtype) {
  return row_of(dtype).bytes;
}
std::string_view name_of(Dtype dtype) {
  return row_of(dtype).name;
}

std::optional<Dtype> dtype_from_name(std::string_view name) {
  for (const Row& row : kTable) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

void to_float(Dtype dtype, const std::byte* src, int64_t count, float* dst) {
  switch (dtype) {
    case Dtype::boolean:
      return convert<uint8_t>(src, count, dst, [](uint8_t v) { return v != 0 ? 1.0f : 0.0f; });
    case Dtype::u8:
      return convert<uint8_t>(src, count, dst);
    case Dtype::i8:
      return convert<int8_t>(src, count, dst);
    case Dtype::f8_e5m2:
      return convert<uint8_t>(src, count, dst, f8_e5m2_to_float);
    case Dtype::f8_e4m3:
      return convert<uint8_t>(src, count, dst, f8_e4m3_to_float);
    case Dtype::i16:
      return convert<int16_t>(src, count, dst);
    case Dtype::u16:
      return convert<uint16_t>(src, count, dst);
    case Dtype::f16:
      return convert<uint16_t>(src, count, dst, f16_to_float);
    case Dtype::bf16:
      return convert<uint16_t>(src, count, dst, bf16_to_float);
    case Dtype::i32:
      return convert<int32_t>(src, count, dst);
    case Dtype::u32:
      return convert<uint32_t>(src, count, dst);
    case Dtype::f32:
      if (count > 0) std::memcpy(dst, src, static_cast<size_t>(count) * sizeof(float));
      return;
    case Dtype::i64:
      return convert<int64_t>(src, count, dst);
    case Dtype::u64:
      return convert<uint64_t>(src, count, dst);
    case Dtype::f64:
      return convert<double>(src, count, dst);
  }
}

void from_float(Dtype dtype, const float* src, int64_t count, std::byte* dst) {
  switch (dtype) {
    case Dtype::f64:
      return store<double>(src, count, dst, [](float v) { return static_cast<double>(v); });
    case Dtype::f32:
      if (count > 0) std::memcpy(dst, src, static_cast<size_t>(count) * sizeof(float));
      return;
    case Dtype::f16:
      return store<uint16_t>(src, count, dst, float_to_f16);
    case Dtype::bf16:
      return store<uint16_t>(src, count, dst, float_to_bf16);
    default:
      PARE_ASSERT(false && "from_float makes f64, f32, f16 and bf16 only");
  }
}

}  // namespace pare
