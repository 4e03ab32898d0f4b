// The bytes of one block out of its scales and codes: what the decoders of gguf_block_codecs.h undo.
#pragma once

#include <cstdint>

namespace pare {
struct BlockScales;
}

namespace pare::gguf {

// codes: one byte an element, 0 for the lowest level; of the block's size.
void pack_q4_0(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_q4_1(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_q5_0(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_q5_1(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_q8_0(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_iq4_nl(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_mxfp4(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_q2_k(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_q3_k(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_q4_k(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_q5_k(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_q6_k(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_iq4_xs(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_q2_0(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_tq1_0(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);
void pack_tq2_0(const BlockScales& scales, const uint8_t* codes, uint8_t* dst);

}  // namespace pare::gguf
