#include "pare/weights/encode/scalar_type.h"

#include "pare/weights/encode/scalar_pack.h"
#include "pare/weights/gguf_block_codecs.h"

namespace pare {
namespace {

using Scales = ScalarType::Scales;

// Of MXFP4: ascending, -0 left out for a second 0 that no number is nearest to.
constexpr int8_t kFp4Levels[16] = {-12, -8, -6, -4, -3, -2, -1, 0, 0, 1, 2, 3, 4, 6, 8, 12};
constexpr uint8_t kFp4Codes[16] = {15, 14, 13, 12, 11, 10, 9, 0, 0, 1, 2, 3, 4, 5, 6, 7};

// id, block, sub, lowest, highest, table, codes, scales, lowest_sc, highest_sc, pack
constexpr ScalarType kTypes[] = {
    {2, 32, 32, -8, 7, nullptr, nullptr, Scales::single, 1, 1, gguf::pack_q4_0},
    {3, 32, 32, 0, 15, nullptr, nullptr, Scales::minimum, 1, 1, gguf::pack_q4_1},
    {6, 32, 32, -16, 15, nullptr, nullptr, Scales::single, 1, 1, gguf::pack_q5_0},
    {7, 32, 32, 0, 31, nullptr, nullptr, Scales::minimum, 1, 1, gguf::pack_q5_1},
    {8, 32, 32, -127, 127, nullptr, nullptr, Scales::single, 1, 1, gguf::pack_q8_0},
    {10, 256, 16, 0, 3, nullptr, nullptr, Scales::affine, 0, 15, gguf::pack_q2_k},
    {11, 256, 16, -4, 3, nullptr, nullptr, Scales::symmetric, -32, 31, gguf::pack_q3_k},
    {12, 256, 32, 0, 15, nullptr, nullptr, Scales::affine, 0, 63, gguf::pack_q4_k},
    {13, 256, 32, 0, 31, nullptr, nullptr, Scales::affine, 0, 63, gguf::pack_q5_k},
    {14, 256, 16, -32, 31, nullptr, nullptr, Scales::symmetric, -128, 127, gguf::pack_q6_k},
    {20, 32, 32, -127, 113, gguf::kIq4Values, nullptr, Scales::single, 1, 1, gguf::pack_iq4_nl},
    {23, 256, 32, -127, 113, gguf::kIq4Values, nullptr, Scales::symmetric, -32, 31, gguf::pack_iq4_xs},
    {34, 256, 256, -1, 1, nullptr, nullptr, Scales::single, 1, 1, gguf::pack_tq1_0},
    {35, 256, 256, -1, 1, nullptr, nullptr, Scales::single, 1, 1, gguf::pack_tq2_0},
    {42, 64, 64, -1, 2, nullptr, nullptr, Scales::single, 1, 1, gguf::pack_q2_0},
    {39, 32, 32, -12, 12, kFp4Levels, kFp4Codes, Scales::power, 1, 1, gguf::pack_mxfp4},
};

}  // namespace

const ScalarType* scalar_type(const GgmlType& type) {
  for (const ScalarType& entry : kTypes) {
    if (entry.id == type.id) return &entry;
  }
  return nullptr;
}

BlockScales TileScales::of_row(int lane) const {
  BlockScales row{.d = d[lane], .dmin = dmin[lane], .sc = {}, .mn = {}};
  for (int k = 0; k < 16; ++k) {
    row.sc[k] = static_cast<int8_t>(sc[k][lane]);
    row.mn[k] = static_cast<uint8_t>(mn[k][lane]);
  }
  return row;
}

}  // namespace pare
