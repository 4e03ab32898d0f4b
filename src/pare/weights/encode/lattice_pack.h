// The bytes of one block of a lattice type: what the readers of gguf_lattice.h undo.
#pragma once

#include <cstdint>

#include "pare/weights/gguf_lattice.h"

namespace pare::gguf {

// The values must be points that the type can name, with their signs and shifts; scales odd, one for each sub-block.
void pack_iq2_xxs(const LatticeBlock& block, uint8_t* dst);
void pack_iq2_xs(const LatticeBlock& block, uint8_t* dst);
void pack_iq2_s(const LatticeBlock& block, uint8_t* dst);
void pack_iq3_xxs(const LatticeBlock& block, uint8_t* dst);
void pack_iq3_s(const LatticeBlock& block, uint8_t* dst);
void pack_iq1_s(const LatticeBlock& block, uint8_t* dst);
void pack_iq1_m(const LatticeBlock& block, uint8_t* dst);

}  // namespace pare::gguf
