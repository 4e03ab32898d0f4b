// Signs, trits and the like: one f16 scale d a block, value = d * (code - 1).
#include "pare/weights/gguf_block_codecs.h"

namespace pare::gguf {
namespace {

// TQ1_0 has five trits in a byte, as a fraction of 256 rounded up: the first digit after the point, in base 3, is the
// first trit, and multiplying by 3^n, what goes over 1 forgotten, brings the n-th there.
uint8_t trit(uint8_t byte, int n) {
  constexpr uint8_t power[] = {1, 3, 9, 27, 81};
  const auto moved = static_cast<uint8_t>(byte * power[n]);
  return static_cast<uint8_t>((moved * 3) >> 8);
}

template <int elements, int block_bytes, int d_at, void (*codes_of)(const uint8_t*, uint8_t*)>
void decode(const uint8_t* src, int64_t blocks, float* dst) {
  uint8_t codes[elements];
  for (int64_t i = 0; i < blocks; ++i, src += block_bytes, dst += elements) {
    const float d = f16_at(src + d_at);
    codes_of(src, codes);
    for (int e = 0; e < elements; ++e) dst[e] = static_cast<float>(codes[e] - 1) * d;
  }
}

}  // namespace

// Q1_0: f16 d | qs[16]            bit e % 8 of byte e / 8: d where it is set, else -d
void q1_0_codes(const uint8_t* src, uint8_t* codes) {
  for (int e = 0; e < 128; ++e) codes[e] = static_cast<uint8_t>(2 * ((src[2 + e / 8] >> (e % 8)) & 1));
}

// Q2_0: f16 d | qs[16]            bits 2 (e % 4) of byte e / 4
void q2_0_codes(const uint8_t* src, uint8_t* codes) {
  for (int e = 0; e < 64; ++e) codes[e] = (src[2 + e / 4] >> (2 * (e % 4))) & 3;
}

// TQ1_0: qs[48] | qh[4] | f16 d   the first 32 bytes give 5 x 32 elements, the next 16 give 5 x 16, the last 4 give 4 x
// 4
void tq1_0_codes(const uint8_t* src, uint8_t* codes) {
  const auto part = [&](int bytes, int trits) {
    for (int n = 0; n < trits; ++n) {
      for (int i = 0; i < bytes; ++i) *codes++ = trit(src[i], n);
    }
    src += bytes;
  };
  part(32, 5);
  part(16, 5);
  part(4, 4);
}

// TQ2_0: qs[64] | f16 d           element 128 h + 32 k + l: bits 2 k of byte 32 h + l
void tq2_0_codes(const uint8_t* src, uint8_t* codes) {
  for (int e = 0; e < 256; ++e) codes[e] = (src[32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32))) & 3;
}

PARE_DECODER void decode_q1_0(const uint8_t* src, int64_t blocks, float* dst) {
  decode<128, 18, 0, q1_0_codes>(src, blocks, dst);
}
PARE_DECODER void decode_q2_0(const uint8_t* src, int64_t blocks, float* dst) {
  decode<64, 18, 0, q2_0_codes>(src, blocks, dst);
}
PARE_DECODER void decode_tq1_0(const uint8_t* src, int64_t blocks, float* dst) {
  decode<256, 54, 52, tq1_0_codes>(src, blocks, dst);
}
PARE_DECODER void decode_tq2_0(const uint8_t* src, int64_t blocks, float* dst) {
  decode<256, 66, 64, tq2_0_codes>(src, blocks, dst);
}

}  // namespace pare::gguf
