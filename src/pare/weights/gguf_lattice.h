// GGUF's types whose codes are points of a lattice: IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S. A code names an
// entry of a code book, 8 or 4 numbers at once; signs are stored apart. What it comes to is the same for all of them:
//
//   value i of a block = d * unit * scales[i / 16] * values[i]       exact in f32: 11 + 5 + 6 bits
//
// The `values` of a type are few: `levels` has them all.
#pragma once

#include <cstdint>

namespace pare::gguf {

constexpr int kLatticeBlock = 256;

struct LatticeBlock {
  uint16_t d;          // f16
  uint8_t scales[16];  // odd, at most 31
  int8_t values[256];
};

struct LatticeType {
  uint32_t id;
  int64_t block_bytes;
  float unit;                                             // a power of two
  bool halves;                                            // scales differ within 32 values
  int8_t levels[16];                                      // ascending; those beyond the last are 0
  void (*read)(const uint8_t* src, LatticeBlock& block);  // any bytes are a block
};

// Nothing for other types.
const LatticeType* lattice_type(uint32_t id);

}  // namespace pare::gguf
