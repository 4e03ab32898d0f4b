// The numbers by which a GGUF file says what type a value of its metadata has.
#pragma once

#include <cstdint>

namespace pare::gguf {

enum ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };

}  // namespace pare::gguf
