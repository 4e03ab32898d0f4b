// Codes of 1 to 8 bits in little-endian bit streams: code i at bits [i*bits, (i+1)*bits), lowest first.
#pragma once

#include <cstdint>
#include <span>

namespace pare {

inline int64_t packed_bytes(int64_t count, int bits) {
  return (count * bits + 7) / 8;
}
void pack_bits(std::span<const uint8_t> codes, int bits, std::span<uint8_t> dst);  // dst fully written
void unpack_bits(std::span<const uint8_t> src, int bits, std::span<uint8_t> codes);

}  // namespace pare
