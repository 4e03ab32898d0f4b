// Element types of stored tensors, as safetensors names them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pare {

enum class Dtype : uint8_t {
  boolean,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  i64,
  u64,
  f64,
};

bool is_float(Dtype dtype);                              // f16, bf16, f32, f64
int64_t size_of(Dtype dtype);                            // bytes an element
std::string_view name_of(Dtype dtype);                   // "BF16"
std::optional<Dtype> dtype_from_name(std::string_view);  // safetensors' spelling

// Elements of any dtype as float: the value nearest in f32. `src` holds count * size_of(dtype) bytes, any alignment.
void to_float(Dtype dtype, const std::byte* src, int64_t count, float* dst);
// The other way for f64, f32, f16, bf16 (round to nearest even). Our mistake to call it with another dtype.
void from_float(Dtype dtype, const float* src, int64_t count, std::byte* dst);

}  // namespace pare
