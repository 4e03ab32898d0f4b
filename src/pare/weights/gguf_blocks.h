// The blocks of GGUF tensors: decode (bit-identical to ggml's f32 results) and encode.
#pragma once

#include <cstdint>
#include <span>

#include "pare/io/ggml_type.h"

namespace pare {

bool can_decode(const GgmlType& type);
bool can_encode(const GgmlType& type);  // F32 F16 BF16 Q4_0 Q4_1 Q8_0
// src: whole blocks; dst.size() a multiple of block_elements.
void decode_blocks(const GgmlType& type, std::span<const std::byte> src, std::span<float> dst);
// Plain rounding as ggml's reference encoder does it.
void encode_blocks(const GgmlType& type, std::span<const float> src, std::span<std::byte> dst);

}  // namespace pare
