// The scales of one block of sixteen rows for a lattice type: those with the least weighted error, as far as a search
// finds them. What scalar_fit.h is to types with a code for each number.
#pragma once

#include "pare/weights/encode/lattice_code.h"

namespace pare {

struct LatticeTileScales {
  Lanes d;          // f16, not negative
  Lanes sc[16];     // by sub-block: odd multiples of the unit
  Lanes shift[16];  // by sub-block, with Shift::sub_block; else 0

  PARE_INLINE Lanes scale(int sub) const { return d * sc[sub]; }
};

// values, weights: [256][16], column by column, weights not negative. A block of zeros has d = 0.
LatticeTileScales fit_lattice(const LatticeCode& code, const float* values, const float* weights);

// The points nearest to the values under these scales: [256][16] whole numbers as LatticeBlock has them.
void round_to_lattice(const LatticeCode& code, const LatticeTileScales& scales, const float* values,
                      const float* weights, float* points);

// One row of it as a block's bytes; points: [256], every `stride`-th.
void pack_lattice(const LatticeCode& code, const LatticeTileScales& scales, int lane, const float* points, int stride,
                  uint8_t* dst);

}  // namespace pare
