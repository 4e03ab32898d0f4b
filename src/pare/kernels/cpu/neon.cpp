// AArch64 with dot products: four registers a step.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "pare/kernels/cpu/attention_kernels.h"
#include "pare/kernels/cpu/expand_table.h"

namespace pare::cpu {
namespace {

struct Neon {
  struct Bytes {
    uint8x16_t v[4];
  };
  struct Ints {
    int32x4_t v[4];
  };
  struct Floats {
    float32x4_t v[4];
  };
  static constexpr int tile = 2;
  static constexpr int register_tile = 4;     // tokens with codes that are unpacked on the way
  static constexpr bool wide_differs = true;  // products with codes above 127
  static constexpr int float_tile = 1;
  static constexpr int dense_tile = 1;

  template <class Each>
  static PARE_KERNEL Bytes bytes(const Each& each) {
    return {{each(0), each(1), each(2), each(3)}};
  }
  template <class Each>
  static PARE_KERNEL Ints ints(const Each& each) {
    return {{each(0), each(1), each(2), each(3)}};
  }
  template <class Each>
  static PARE_KERNEL Floats floats(const Each& each) {
    return {{each(0), each(1), each(2), each(3)}};
  }
  static PARE_KERNEL Bytes load(const uint8_t* src) {
    return bytes([&](int i) { return vld1q_u8(src + 16 * i); });
  }
  static PARE_KERNEL void store(uint8_t* dst, Bytes b) {
    for (int i = 0; i < 4; ++i) vst1q_u8(dst + 16 * i, b.v[i]);
  }
  static PARE_KERNEL Bytes load_table(const uint8_t* table) {
    return bytes([&](int) { return vld1q_u8(table); });
  }
  static PARE_KERNEL Bytes and_(Bytes b, uint8_t mask) {
    return bytes([&](int i) { return vandq_u8(b.v[i], vdupq_n_u8(mask)); });
  }
  static PARE_KERNEL Bytes or_and(Bytes low, Bytes b, uint8_t mask) {
    return bytes([&](int i) { return vorrq_u8(low.v[i], vandq_u8(b.v[i], vdupq_n_u8(mask))); });
  }
  template <int n>
  static PARE_KERNEL Bytes shift_right(Bytes b) {
    if constexpr (n == 0)
      return b;
    else
      return bytes([&](int i) { return vshrq_n_u8(b.v[i], n); });
  }
  template <int n>
  static PARE_KERNEL Bytes shift_left(Bytes b) {
    return bytes([&](int i) { return vshlq_n_u8(b.v[i], n); });
  }
  static PARE_KERNEL Bytes lookup(Bytes table, Bytes nibbles) {
    return bytes([&](int i) { return vqtbl1q_u8(table.v[i], nibbles.v[i]); });
  }
  // The dot product takes both signed: codes above 127 go as code - 128, and 128 sum(x) is added back.
  static PARE_KERNEL Bytes splat_byte(uint8_t value) {
    return bytes([&](int) { return vdupq_n_u8(value); });
  }
  // Kept bytes to their places, `fill` elsewhere. May read 64 bytes whatever the mask.
  static PARE_KERNEL Bytes expand(Bytes fill, uint64_t mask, const uint8_t* kept) {
    uint8_t places[64], found[64];
    for (int i = 0; i < 8; ++i) {
      const auto eight_bits = static_cast<uint8_t>(mask >> (8 * i));
      const uint8x8_t order = vld1_u8(kExpand.shuffle[eight_bits]);
      vst1_u8(places + 8 * i, order);
      vst1_u8(found + 8 * i, vtbl1_u8(vld1_u8(kept), order));
      kept += __builtin_popcount(eight_bits);
    }
    const Bytes none = load(places), values = load(found);  // the top bit: nothing goes here
    return bytes([&](int i) { return vbslq_u8(vcltzq_s8(vreinterpretq_s8_u8(none.v[i])), fill.v[i], values.v[i]); });
  }
  static PARE_KERNEL Bytes expand_nibbles(Bytes fill, uint64_t mask, const uint8_t* kept) {
    uint8_t codes[72];
    spread_nibbles(kept, __builtin_popcountll(mask), codes);
    return expand(fill, mask, codes);
  }
  // 32 kept halves to their places, zeros elsewhere. May read 64 bytes whatever the mask.
  static PARE_KERNEL void expand_halves(uint32_t mask, const uint8_t* kept, uint8_t* dst) {
    for (int i = 0; i < 4; ++i) {
      const uint32_t eight_bits = (mask >> (8 * i)) & 255;
      const uint8x8_t order = vld1_u8(kExpand.shuffle[eight_bits]);  // of halves: bytes 2 n and 2 n + 1
      const uint8x8_t even = vqadd_u8(order, order), odd = vqadd_u8(even, vdup_n_u8(1));  // "none" stays that
      vst1q_u8(dst + 16 * i, vqtbl1q_u8(vld1q_u8(kept), vcombine_u8(vzip1_u8(even, odd), vzip2_u8(even, odd))));
      kept += 2 * __builtin_popcount(eight_bits);
    }
  }
  template <bool wide>
  static PARE_KERNEL Ints dot(Ints sum, Bytes u, const int8_t* x4) {
    int32_t four;
    __builtin_memcpy(&four, x4, 4);
    const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(four));
    if constexpr (wide) {
      const int32x4_t back = vdupq_n_s32(128 * (x4[0] + x4[1] + x4[2] + x4[3]));
      return ints([&](int i) {
        const int8x16_t w = vreinterpretq_s8_u8(veorq_u8(u.v[i], vdupq_n_u8(0x80)));
        return vdotq_s32(vaddq_s32(sum.v[i], back), w, x);
      });
    } else {
      return ints([&](int i) { return vdotq_s32(sum.v[i], vreinterpretq_s8_u8(u.v[i]), x); });
    }
  }
  static PARE_KERNEL Ints splat_int(int32_t value) {
    return ints([&](int) { return vdupq_n_s32(value); });
  }
  static PARE_KERNEL Ints add(Ints a, Ints b) {
    return ints([&](int i) { return vaddq_s32(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats to_floats(Ints a) {
    return floats([&](int i) { return vcvtq_f32_s32(a.v[i]); });
  }
  static PARE_KERNEL Floats splat_float(float value) {
    return floats([&](int) { return vdupq_n_f32(value); });
  }
  static PARE_KERNEL Floats fma(Floats a, Floats b, Floats c) {
    return floats([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats fnma(Floats a, Floats b, Floats c) {  // c - a b
    return floats([&](int i) { return vfmsq_f32(c.v[i], a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats mul(Floats a, Floats b) {
    return floats([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats sub(Floats a, Floats b) {
    return floats([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats plus(Floats a, Floats b) {
    return floats([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats load_f32_unaligned(const void* src) {
    return floats([&](int i) { return vreinterpretq_f32_u8(vld1q_u8(static_cast<const uint8_t*>(src) + 16 * i)); });
  }
  static PARE_KERNEL Floats load_f32(const float* src) { return load_f32_unaligned(src); }
  static PARE_KERNEL void store_f32(float* dst, Floats f) {
    for (int i = 0; i < 4; ++i) vst1q_f32(dst + 4 * i, f.v[i]);
  }
  static PARE_KERNEL uint16x4_t four_halves(const uint8_t* src) { return vreinterpret_u16_u8(vld1_u8(src)); }
  static PARE_KERNEL Floats load_f16(const uint8_t* src) {
    return floats([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(four_halves(src + 8 * i))); });
  }
  static PARE_KERNEL Floats load_bf16(const uint8_t* src) {
    return floats([&](int i) { return vreinterpretq_f32_u32(vshll_n_u16(four_halves(src + 8 * i), 16)); });
  }
  static PARE_KERNEL Floats load_u8(const uint8_t* src) {
    return floats([&](int i) {
      const float lanes[4] = {static_cast<float>(src[4 * i]), static_cast<float>(src[4 * i + 1]),
                              static_cast<float>(src[4 * i + 2]), static_cast<float>(src[4 * i + 3])};
      return vld1q_f32(lanes);
    });
  }
  static PARE_KERNEL Floats load_i8(const uint8_t* src) {
    const auto* signed_src = reinterpret_cast<const int8_t*>(src);
    return floats([&](int i) {
      const float lanes[4] = {static_cast<float>(signed_src[4 * i]), static_cast<float>(signed_src[4 * i + 1]),
                              static_cast<float>(signed_src[4 * i + 2]), static_cast<float>(signed_src[4 * i + 3])};
      return vld1q_f32(lanes);
    });
  }
  template <int j>
  static PARE_KERNEL Floats byte_of(Bytes b) {
    return floats([&](int i) {
      uint32x4_t lane = vreinterpretq_u32_u8(b.v[i]);
      if constexpr (j > 0) lane = vshrq_n_u32(lane, 8 * j);
      return vcvtq_f32_u32(vandq_u32(lane, vdupq_n_u32(255)));
    });
  }
  static PARE_KERNEL void store_lanes(float* dst, Floats f, int lanes) {
    if (lanes == 16) return store_f32(dst, f);
    float values[16];
    store_f32(values, f);
    for (int i = 0; i < lanes; ++i) dst[i] = values[i];
  }
  static PARE_KERNEL Floats min(Floats a, Floats b) {
    return floats([&](int i) { return vminq_f32(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats max(Floats a, Floats b) {
    return floats([&](int i) { return vmaxq_f32(a.v[i], b.v[i]); });
  }
  static PARE_KERNEL Floats divide(Floats a, Floats b) {
    return floats([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
  }
  // n whole, so large that v has no subnormal part
  static PARE_KERNEL Floats times_power_of_two(Floats v, Floats n) {
    return floats([&](int i) {
      const int32x4_t power = vshlq_n_s32(vcvtq_s32_f32(n.v[i]), 23);
      return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(v.v[i]), power));
    });
  }
  static PARE_KERNEL Floats zero_below(Floats x, float least, Floats v) {
    return floats([&](int i) {
      const uint32x4_t below = vcltq_f32(x.v[i], vdupq_n_f32(least));
      return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v.v[i]), below));
    });
  }
  static PARE_KERNEL float most(Floats f) {
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(f.v[0], f.v[1]), vmaxq_f32(f.v[2], f.v[3])));
  }
  static PARE_KERNEL void store_f16(uint8_t* dst, Floats f) {
    for (int i = 0; i < 4; ++i) vst1_u8(dst + 8 * i, vreinterpret_u8_f16(vcvt_f16_f32(f.v[i])));
  }
  static PARE_KERNEL float sum(Floats f) {
    const float32x4_t v = vaddq_f32(vaddq_f32(f.v[0], f.v[2]), vaddq_f32(f.v[1], f.v[3]));
    return (vgetq_lane_f32(v, 0) + vgetq_lane_f32(v, 2)) + (vgetq_lane_f32(v, 1) + vgetq_lane_f32(v, 3));
  }
  static PARE_KERNEL float largest(Floats a, Floats b) {
    float32x4_t m = vdupq_n_f32(0);
    for (int i = 0; i < 4; ++i) m = vmaxq_f32(m, vmaxq_f32(vabsq_f32(a.v[i]), vabsq_f32(b.v[i])));
    return vmaxvq_f32(m);
  }
  static PARE_KERNEL int32_t round_to_bytes(Floats f, int8_t* dst) {
    int32x4_t q[4];
    for (int i = 0; i < 4; ++i) q[i] = vcvtnq_s32_f32(f.v[i]);
    const int16x8_t low = vcombine_s16(vqmovn_s32(q[0]), vqmovn_s32(q[1]));
    const int16x8_t high = vcombine_s16(vqmovn_s32(q[2]), vqmovn_s32(q[3]));
    vst1q_s8(dst, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
    return vaddvq_s32(vaddq_s32(vaddq_s32(q[0], q[1]), vaddq_s32(q[2], q[3])));
  }
};

}  // namespace

const FunctionTable kNeon = table_of<Neon>("neon");

}  // namespace pare::cpu
#endif
