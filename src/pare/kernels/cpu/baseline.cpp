// Plain C++, for any CPU; arrays of 16 that the compiler turns into whatever vectors it may assume.
#include <cmath>

// Inlined where the compiler thinks so: forced into one another, these take it minutes.
#define PARE_KERNEL inline

#include "pare/kernels/cpu/attention_kernels.h"
#include "pare/kernels/cpu/expand_table.h"

namespace pare::cpu {
namespace {

struct Baseline {
  struct Bytes {
    uint8_t v[64];
  };
  struct Ints {
    int32_t v[16];
  };
  struct Floats {
    float v[16];
  };
  static constexpr int tile = 1;
  static constexpr int register_tile = 1;
  static constexpr bool wide_differs = false;  // products with codes above 127
  static constexpr int float_tile = 1;
  static constexpr int dense_tile = 2;

  template <class Each>
  static PARE_KERNEL Bytes bytes(const Each& each) {
    Bytes result;
    for (int i = 0; i < 64; ++i) result.v[i] = static_cast<uint8_t>(each(i));
    return result;
  }
  template <class Each>
  static PARE_KERNEL Floats floats(const Each& each) {
    Floats result;
    for (int i = 0; i < 16; ++i) result.v[i] = each(i);
    return result;
  }
  static PARE_KERNEL Bytes load(const uint8_t* src) {
    return bytes([&](int i) { return src[i]; });
  }
  static PARE_KERNEL void store(uint8_t* dst, const Bytes& b) {
    for (int i = 0; i < 64; ++i) dst[i] = b.v[i];
  }
  static PARE_KERNEL Bytes load_table(const uint8_t* table) {
    return bytes([&](int i) { return table[i % 16]; });
  }
  static PARE_KERNEL Bytes and_(const Bytes& b, uint8_t mask) {
    return bytes([&](int i) { return b.v[i] & mask; });
  }
  static PARE_KERNEL Bytes or_and(const Bytes& low, const Bytes& b, uint8_t mask) {
    return bytes([&](int i) { return low.v[i] | (b.v[i] & mask); });
  }
  template <int n>
  static PARE_KERNEL Bytes shift_right(const Bytes& b) {
    return bytes([&](int i) { return b.v[i] >> n; });
  }
  template <int n>
  static PARE_KERNEL Bytes shift_left(const Bytes& b) {
    return bytes([&](int i) { return b.v[i] << n; });
  }
  static PARE_KERNEL Bytes lookup(const Bytes& table, const Bytes& nibbles) {
    return bytes([&](int i) { return table.v[nibbles.v[i]]; });
  }
  static PARE_KERNEL Bytes splat_byte(uint8_t value) {
    return bytes([&](int) { return value; });
  }
  // Kept bytes to their places, `fill` elsewhere. May read 64 bytes whatever the mask.
  static PARE_KERNEL Bytes expand(const Bytes& fill, uint64_t mask, const uint8_t* kept) {
    return bytes([&](int i) { return ((mask >> i) & 1) != 0 ? *kept++ : fill.v[i]; });
  }
  static PARE_KERNEL Bytes expand_nibbles(Bytes fill, uint64_t mask, const uint8_t* kept) {
    uint8_t codes[72];
    spread_nibbles(kept, __builtin_popcountll(mask), codes);
    return expand(fill, mask, codes);
  }
  // 32 kept halves to their places, zeros elsewhere.
  static PARE_KERNEL void expand_halves(uint32_t mask, const uint8_t* kept, uint8_t* dst) {
    for (int i = 0; i < 32; ++i, dst += 2) {
      const bool any = ((mask >> i) & 1) != 0;
      dst[0] = any ? kept[0] : 0;
      dst[1] = any ? kept[1] : 0;
      if (any) kept += 2;
    }
  }
  template <bool wide>
  static PARE_KERNEL Ints dot(const Ints& sum, const Bytes& u, const int8_t* x4) {
    Ints result;
    for (int r = 0; r < 16; ++r) {
      result.v[r] =
          sum.v[r] + u.v[4 * r] * x4[0] + u.v[4 * r + 1] * x4[1] + u.v[4 * r + 2] * x4[2] + u.v[4 * r + 3] * x4[3];
    }
    return result;
  }
  static PARE_KERNEL Ints splat_int(int32_t value) {
    Ints result;
    for (int32_t& lane : result.v) lane = value;
    return result;
  }
  static PARE_KERNEL Ints add(const Ints& a, const Ints& b) {
    Ints result;
    for (int i = 0; i < 16; ++i) result.v[i] = a.v[i] + b.v[i];
    return result;
  }
  static PARE_KERNEL Floats to_floats(const Ints& a) {
    return floats([&](int i) { return static_cast<float>(a.v[i]); });
  }
  static PARE_KERNEL Floats splat_float(float value) {
    return floats([&](int) { return value; });
  }
  static PARE_KERNEL Floats fma(const Floats& a, const Floats& b, const Floats& c) {
    return floats([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
  }
  static PARE_KERNEL Floats fnma(const Floats& a, const Floats& b, const Floats& c) {  // c - a b
    return floats([&](int i) { return c.v[i] - a.v[i] * b.v[i]; });
  }
  static PARE_KERNEL Floats mul(const Floats& a, const Floats& b) {
    return floats([&](int i) { return a.v[i] * b.v[i]; });
  }
  static PARE_KERNEL Floats sub(const Floats& a, const Floats& b) {
    return floats([&](int i) { return a.v[i] - b.v[i]; });
  }
  static PARE_KERNEL Floats plus(const Floats& a, const Floats& b) {
    return floats([&](int i) { return a.v[i] + b.v[i]; });
  }
  template <class T>
  static PARE_KERNEL T item(const void* src, int i) {
    T value;
    __builtin_memcpy(&value, static_cast<const uint8_t*>(src) + sizeof(T) * static_cast<size_t>(i), sizeof(T));
    return value;
  }
  static PARE_KERNEL float of_bits(uint32_t bits) {
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
  }
  static PARE_KERNEL float of_f16(uint16_t bits) {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u,
                   mantissa = bits & 0x3ffu;
    if (exponent == 31) return of_bits(sign | 0x7f800000u | (mantissa << 13));
    if (exponent == 0) return (sign != 0 ? -0x1p-24f : 0x1p-24f) * static_cast<float>(mantissa);
    return of_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
  }
  static PARE_KERNEL Floats load_f32_unaligned(const void* src) {
    return floats([&](int i) { return item<float>(src, i); });
  }
  static PARE_KERNEL Floats load_f32(const float* src) {
    return floats([&](int i) { return src[i]; });
  }
  static PARE_KERNEL void store_f32(float* dst, const Floats& f) {
    for (int i = 0; i < 16; ++i) dst[i] = f.v[i];
  }
  static PARE_KERNEL Floats load_f16(const uint8_t* src) {
    return floats([&](int i) { return of_f16(item<uint16_t>(src, i)); });
  }
  static PARE_KERNEL Floats load_bf16(const uint8_t* src) {
    return floats([&](int i) { return of_bits(static_cast<uint32_t>(item<uint16_t>(src, i)) << 16); });
  }
  static PARE_KERNEL Floats load_u8(const uint8_t* src) {
    return floats([&](int i) { return static_cast<float>(src[i]); });
  }
  static PARE_KERNEL Floats load_i8(const uint8_t* src) {
    return floats([&](int i) { return static_cast<float>(static_cast<int8_t>(src[i])); });
  }
  template <int j>
  static PARE_KERNEL Floats byte_of(const Bytes& b) {
    return floats([&](int i) { return static_cast<float>(b.v[4 * i + j]); });
  }
  static PARE_KERNEL void store_lanes(float* dst, const Floats& f, int lanes) {
    for (int i = 0; i < lanes; ++i) dst[i] = f.v[i];
  }
  static PARE_KERNEL Floats min(const Floats& a, const Floats& b) {
    return floats([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  static PARE_KERNEL Floats max(const Floats& a, const Floats& b) {
    return floats([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  static PARE_KERNEL Floats divide(const Floats& a, const Floats& b) {
    return floats([&](int i) { return a.v[i] / b.v[i]; });
  }
  // n whole, so large that v has no subnormal part
  static PARE_KERNEL Floats times_power_of_two(const Floats& v, const Floats& n) {
    return floats([&](int i) {
      uint32_t bits;
      __builtin_memcpy(&bits, &v.v[i], 4);
      return of_bits(bits + (static_cast<uint32_t>(static_cast<int32_t>(n.v[i])) << 23));
    });
  }
  static PARE_KERNEL Floats zero_below(const Floats& x, float least, const Floats& v) {
    return floats([&](int i) { return x.v[i] < least ? 0.0f : v.v[i]; });
  }
  static PARE_KERNEL float most(const Floats& f) {
    float result = f.v[0];
    for (float lane : f.v) result = lane > result ? lane : result;
    return result;
  }
  static PARE_KERNEL uint16_t f16_of(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    const uint32_t sign = (bits >> 16) & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
    if (size >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and up
    if (size >= 0x38800000u)
      return static_cast<uint16_t>(sign | ((size + 0xfffu + ((size >> 13) & 1u) - 0x38000000u) >> 13));
    const float shifted = of_bits(size) + 0.5f;  // subnormal: the adder rounds to multiples of 2^-24
    __builtin_memcpy(&bits, &shifted, 4);
    return static_cast<uint16_t>(sign | (bits - 0x3f000000u));
  }
  static PARE_KERNEL void store_f16(uint8_t* dst, const Floats& f) {
    for (int i = 0; i < 16; ++i) {
      const uint16_t half = f16_of(f.v[i]);
      __builtin_memcpy(dst + 2 * i, &half, 2);
    }
  }
  static PARE_KERNEL float sum(const Floats& f) {
    float lanes[16];
    for (int i = 0; i < 16; ++i) lanes[i] = f.v[i];
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
  }
  static PARE_KERNEL float largest(const Floats& a, const Floats& b) {
    float result = 0;
    for (int i = 0; i < 16; ++i) {
      const float x = std::fabs(a.v[i]), y = std::fabs(b.v[i]);
      result = x > result ? x : result;
      result = y > result ? y : result;
    }
    return result;
  }
  static PARE_KERNEL int32_t round_to_bytes(const Floats& f, int8_t* dst) {
    int32_t total = 0;
    for (int i = 0; i < 16; ++i) {
      // + 1.5 * 2^23: the adder rounds to whole numbers, to nearest even
      const float shifted = f.v[i] + 12582912.0f;
      uint32_t bits;
      __builtin_memcpy(&bits, &shifted, 4);
      const auto q = static_cast<int32_t>(bits - 0x4b400000u);
      const int32_t kept = q < -128 ? -128 : q > 127 ? 127 : q;
      dst[i] = static_cast<int8_t>(kept);
      total += kept;
    }
    return total;
  }
};

}  // namespace

const FunctionTable kBaseline = table_of<Baseline>("baseline");

}  // namespace pare::cpu
