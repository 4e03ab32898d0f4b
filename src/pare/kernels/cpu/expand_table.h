// Bytes to the places that a mask says, for CPUs without an instruction for it: eight at a time, by a table of
// shuffles.
#pragma once

#include <cstdint>

namespace pare::cpu {
namespace {

// shuffle[mask][i]: which of the next kept bytes goes to place i; 0x80, which shuffles read as "none", where none does.
struct ExpandTable {
  uint8_t shuffle[256][8];
};
constexpr ExpandTable make_expand_table() {
  ExpandTable table{};
  for (int mask = 0; mask < 256; ++mask) {
    uint8_t next = 0;
    for (int i = 0; i < 8; ++i) {
      if (((mask >> i) & 1) != 0) {
        table.shuffle[mask][i] = next;
        ++next;
      } else {
        table.shuffle[mask][i] = 0x80;
      }
    }
  }
  return table;
}
constexpr ExpandTable kExpand = make_expand_table();

// Nibbles of `count` codes to bytes.
inline __attribute__((always_inline)) void spread_nibbles(const uint8_t* src, int count, uint8_t* dst) {
  for (int i = 0; i < count; ++i) dst[i] = static_cast<uint8_t>((src[i / 2] >> (4 * (i % 2))) & 15);
}

}  // namespace
}  // namespace pare::cpu
