#include "pare/weights/bitpack.h"

#include <array>
#include <bit>
#include <cstring>

#include "pare/base/error.h"

namespace pare {
namespace {

static_assert(std::endian::native == std::endian::little, "the streams are moved as little-endian words");

// Eight codes are `bits` whole bytes, so a run of eight never straddles: one 64-bit word takes it.
template <int bits>
uint64_t gather_eight(const uint8_t* codes, int64_t count) {
  constexpr uint8_t kMask = static_cast<uint8_t>((1u << bits) - 1);
  uint64_t word = 0;
  for (int64_t i = 0; i < count; ++i) word |= static_cast<uint64_t>(codes[i] & kMask) << (bits * i);
  return word;
}

template <int bits>
void pack(const uint8_t* codes, int64_t count, uint8_t* dst) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8, dst += bits) {
    const uint64_t word = gather_eight<bits>(codes + i, 8);
    std::memcpy(dst, &word, bits);
  }
  if (i < count) {
    const uint64_t word = gather_eight<bits>(codes + i, count - i);
    std::memcpy(dst, &word, static_cast<size_t>(packed_bytes(count - i, bits)));
  }
}

template <int bits>
void unpack(const uint8_t* src, uint8_t* codes, int64_t count) {
  constexpr uint64_t kMask = (1u << bits) - 1;
  int64_t i = 0;
  if constexpr (bits == 8) {
    if (count > 0) std::memcpy(codes, src, static_cast<size_t>(count));
    return;
  }
  if constexpr (bits == 4) {  // written apart because the compiler turns it into byte shuffles
    for (; i + 2 <= count; i += 2, ++src) {
      codes[i] = *src & 15;
      codes[i + 1] = static_cast<uint8_t>(*src >> 4);
    }
  }
  for (; i + 8 <= count; i += 8, src += bits) {
    uint64_t word = 0;
    std::memcpy(&word, src, bits);
    for (int k = 0; k < 8; ++k) codes[i + k] = static_cast<uint8_t>((word >> (bits * k)) & kMask);
  }
  if (i < count) {
    uint64_t word = 0;
    std::memcpy(&word, src, static_cast<size_t>(packed_bytes(count - i, bits)));
    for (int k = 0; i < count; ++i, ++k) codes[i] = static_cast<uint8_t>((word >> (bits * k)) & kMask);
  }
}

using Pack = void (*)(const uint8_t*, int64_t, uint8_t*);
using Unpack = void (*)(const uint8_t*, uint8_t*, int64_t);
constexpr std::array<Pack, 8> kPack{pack<1>, pack<2>, pack<3>, pack<4>, pack<5>, pack<6>, pack<7>, pack<8>};
constexpr std::array<Unpack, 8> kUnpack{unpack<1>, unpack<2>, unpack<3>, unpack<4>,
                                        unpack<5>, unpack<6>, unpack<7>, unpack<8>};

}  // namespace

void pack_bits(std::span<const uint8_t> codes, int bits, std::span<uint8_t> dst) {
  const auto count = static_cast<int64_t>(codes.size());
  PARE_ASSERT(bits >= 1 && bits <= 8);
  PARE_ASSERT(static_cast<int64_t>(dst.size()) == packed_bytes(count, bits));
  kPack[static_cast<size_t>(bits - 1)](codes.data(), count, dst.data());
}

void unpack_bits(std::span<const uint8_t> src, int bits, std::span<uint8_t> codes) {
  const auto count = static_cast<int64_t>(codes.size());
  PARE_ASSERT(bits >= 1 && bits <= 8);
  PARE_ASSERT(static_cast<int64_t>(src.size()) >= packed_bytes(count, bits));
  kUnpack[static_cast<size_t>(bits - 1)](src.data(), codes.data(), count);
}

}  // namespace pare
