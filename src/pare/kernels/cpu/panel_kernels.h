// Products with panels of integers (function_table.h), written once over an instruction set `I`:
//
//   I::Bytes   one step, 64 bytes: 16 rows x 4 columns        I::Ints, I::Floats   16 lanes, one a row
//
// A panel is done in two stages. Its scales, whatever their form, become f32 vectors s, z, o in `room` (a few per cent
// of the work). Then for each block of 32 columns, with x = codes q_x times a scale s_x:
//
//   int8   y += s s_x (sum q q_x - z sum q_x) + o s_x sum q_x      the bracket exact
//   f32    y += sum (s (q - z) + o) x                               four sums, column % 4, added at the end
//
// One token: codes are unpacked in registers on their way into the products. Several: the panel is unpacked once into
// `room`, and tiles of tokens are multiplied with it; a few may go either way (Variant). Operations on a row and
// token are the same in all of them, so a token has the same bits alone and among others.
#pragma once

#include "pare/kernels/cpu/function_table.h"

namespace pare::cpu {
namespace {

#ifndef PARE_KERNEL
#define PARE_KERNEL inline __attribute__((always_inline))
#endif

// Memory is asked for well before its codes are needed (Variant::fetch_ahead). Without it, what is computed and what is
// read took turns: a product with one token took the time of both added up.
PARE_KERNEL void fetch(const uint8_t* p) {
  __builtin_prefetch(p, 0, 3);
}

// ---- Unpacking: step(s) of a block ----------------------------------------------------------------------------------

template <class I, Codes kind>
struct Unpack {
  using Bytes = typename I::Bytes;

  // each(step, Bytes) for the 8 steps of the block at `src`
  template <class Each>
  static PARE_KERNEL void block(const uint8_t* src, const Bytes& table, const Each& each) {
    if constexpr (kind == Codes::bits8) {
      steps([&]<int s>() { each(s, I::load(src + 64 * s)); });
    } else if constexpr (kind == Codes::bits4 || kind == Codes::table4) {
      steps([&]<int s>() {
        if constexpr (s < 4) {
          const Bytes v = I::load(src + 64 * s);
          each(s, code4(I::and_(v, 0x0f), table));
          each(s + 4, code4(I::and_(I::template shift_right<4>(v), 0x0f), table));
        }
      });
    } else if constexpr (kind == Codes::bits2) {
      const Bytes v[2] = {I::load(src), I::load(src + 64)};
      steps([&]<int s>() { each(s, I::and_(I::template shift_right<2 * (s / 2)>(v[s % 2]), 0x03)); });
    } else if constexpr (kind == Codes::bits3) {
      const Bytes v[2] = {I::load(src), I::load(src + 64)}, top = I::load(src + 128);
      steps([&]<int s>() {
        each(s, I::or_and(I::and_(I::template shift_right<2 * (s / 2)>(v[s % 2]), 0x03), move<s, 2>(top), 0x04));
      });
    } else if constexpr (kind == Codes::bits5) {
      const Bytes top = I::load(src + 256);
      steps([&]<int s>() {
        const Bytes v = I::load(src + 64 * (s % 4));
        each(s, I::or_and(I::and_(I::template shift_right < s < 4 ? 0 : 4 > (v), 0x0f), move<s, 4>(top), 0x10));
      });
    } else {
      static_assert(kind == Codes::bits6);
      const Bytes top[2] = {I::load(src + 256), I::load(src + 320)};
      steps([&]<int s>() {
        const Bytes v = I::load(src + 64 * (s % 4));
        each(s, I::or_and(I::and_(I::template shift_right < s < 4 ? 0 : 4 > (v), 0x0f),
                          move<2 * (s / 2), 4>(top[s % 2]), 0x30));
      });
    }
  }

 private:
  template <class Step>
  static PARE_KERNEL void steps(const Step& step) {
    step.template operator()<0>();
    step.template operator()<1>();
    step.template operator()<2>();
    step.template operator()<3>();
    step.template operator()<4>();
    step.template operator()<5>();
    step.template operator()<6>();
    step.template operator()<7>();
  }
  static PARE_KERNEL Bytes code4(Bytes nibbles, const Bytes& table) {
    if constexpr (kind == Codes::table4) return I::lookup(table, nibbles);
    return nibbles;
  }
  // bit `from` of each byte to bit `to`; what else comes along is for the caller to mask
  template <int from, int to>
  static PARE_KERNEL Bytes move(Bytes v) {
    if constexpr (from > to) {
      return I::template shift_right<from - to>(v);
    } else {
      return I::template shift_left<to - from>(v);
    }
  }
};

// Blocks of a panel, one after another, dense or sparse.
template <class I, Codes kind>
class BlockReader {
 public:
  BlockReader(const Panels& w, int64_t panel, int64_t ahead)
      : src_(w.codes + panel * panel_code_bytes(w)), ahead_(ahead), table_(I::load_table(w.table)) {
    if constexpr (is_sparse(kind)) {
      kept_ = w.kept + w.kept_start[panel];
      zero_ = I::splat_byte(static_cast<uint8_t>(w.zero));
    }
  }
  template <class Each>
  PARE_KERNEL void next(const Each& each) {
    for (int line = 0; line < stored_bits(kind); ++line) fetch(src_ + ahead_ + 64 * line);
    if constexpr (is_sparse(kind)) {
      for (int line = 0; line < (kind == Codes::sparse8 ? 4 : 2); ++line) fetch(kept_ + ahead_ + 64 * line);
#pragma GCC unroll 8
      for (int s = 0; s < 8; ++s) {
        uint64_t mask;
        __builtin_memcpy(&mask, src_ + 8 * s, 8);
        const int count = __builtin_popcountll(mask);
        each(s, kind == Codes::sparse8 ? I::expand(zero_, mask, kept_) : I::expand_nibbles(zero_, mask, kept_));
        kept_ += kind == Codes::sparse8 ? count : (count + 1) / 2;
      }
    } else {
      Unpack<I, kind>::block(src_, table_, each);
    }
    src_ += kStepBytes * stored_bits(kind);
  }

 private:
  const uint8_t* src_;
  const uint8_t* kept_ = nullptr;
  int64_t ahead_;
  typename I::Bytes table_, zero_ = table_;
};

// ---- Scales ---------------------------------------------------------------------------------------------------------

// Vectors of 16 f32, entry e of a panel: for each scale group, or block, or half block, as Panels says.
struct PanelScales {
  float* s;  // scale
  float* z;  // zero
  float* o;  // offset
  int64_t group_blocks;
};

// What int8 products do not read is left out: z, which they know, and, without zeros or mins of their own, o.
template <class I>
PARE_KERNEL void expand_scales(const Panels& w, int64_t panel, const PanelScales& to, bool for_int8) {
  using Floats = typename I::Floats;
  const int64_t bytes = panel_scale_bytes(w), zero_bytes = panel_zero_bytes(w);
  const uint8_t* src = w.scales + panel * bytes;
  const uint8_t* zeros = w.zeros + panel * zero_bytes;
  const Floats zero = I::splat_float(static_cast<float>(w.zero)), none = I::splat_float(0);
  for (int64_t at = 0; at < bytes; at += 64) fetch(src + bytes + at);  // the next panel's
  for (int64_t at = 0; at < zero_bytes; at += 64) fetch(zeros + zero_bytes + at);
  if (!is_super(w.scales_kind)) {
    const bool stored = w.scales_kind == Scales::f16_min || w.zeros_stored;
    const int64_t entries = has_halves(w.scales_kind) ? 2 * w.blocks : w.groups;
    for (int64_t g = 0; g < entries; ++g) {
      const Floats s = w.scales_kind == Scales::f32    ? I::load_f32(reinterpret_cast<const float*>(src) + 16 * g)
                       : w.scales_kind == Scales::bf16 ? I::load_bf16(src + 32 * g)
                                                       : I::load_f16(src + 32 * g);
      I::store_f32(to.s + 16 * g, s);
      if (for_int8 && !stored) continue;
      Floats z = zero, o = none;
      if (w.scales_kind == Scales::f16_min) {
        o = I::load_f16(zeros + 32 * g);
      } else if (w.zeros_stored) {
        z = I::load_u8(zeros + 16 * g);
        if (for_int8) o = I::sub(none, I::mul(s, z));  // -s z sum q_x goes with the offset
      }
      if (!for_int8) I::store_f32(to.z + 16 * g, z);
      I::store_f32(to.o + 16 * g, o);
    }
    return;
  }
  const bool mins = has_min(w.scales_kind);
  const int64_t parts = has_halves(w.scales_kind) ? 2 : 1, supers = (w.blocks + 7) / 8;
  const Floats unit = I::splat_float(w.unit);
  for (int64_t b = 0; b < w.blocks; ++b) {
    const Floats d = I::mul(unit, I::load_f16(zeros + 32 * (b / 8)));
    const Floats dmin = mins ? I::load_f16(zeros + 32 * (supers + b / 8)) : none;
    for (int64_t half = 0; half < parts; ++half) {
      const int64_t e = b * parts + half;
      const uint8_t* sc = src + 16 * (b * parts * (mins ? 2 : 1) + half);
      I::store_f32(to.s + 16 * e, I::mul(d, mins ? I::load_u8(sc) : I::load_i8(sc)));
      if (mins) I::store_f32(to.o + 16 * e, I::sub(none, I::mul(dmin, I::load_u8(sc + 16 * parts))));
      if (for_int8) continue;
      I::store_f32(to.z + 16 * e, zero);
      if (!mins) I::store_f32(to.o + 16 * e, none);
    }
  }
}

// ---- int8 -----------------------------------------------------------------------------------------------------------

// Codes above 127, for products that take signed bytes or go by pairs through 16 bits.
constexpr bool is_wide(Codes kind) {
  return kind == Codes::bits8 || kind == Codes::table4 || kind == Codes::sparse8;
}

// A block's sums, `both` or one of each half, become values. Codes minus zero is exact: whole numbers below 2^24.
template <class I, bool offsets, bool halves>
PARE_KERNEL typename I::Floats scaled(typename I::Floats y, typename I::Ints first, typename I::Ints second,
                                      typename I::Floats zero, const float* s, const float* o, const BlockFacts& x) {
  using Floats = typename I::Floats;
  const Floats sx = I::splat_float(x.scale);
  const auto add = [&](typename I::Ints sum, float x_sum, float x_scaled_sum, int64_t entry) {
    Floats value = I::to_floats(sum);
    if constexpr (!offsets) value = I::fnma(zero, I::splat_float(x_sum), value);
    y = I::fma(value, I::mul(I::load_f32(s + entry), sx), y);
    if constexpr (offsets) y = I::fma(I::load_f32(o + entry), I::splat_float(x_scaled_sum), y);
  };
  if constexpr (halves) {
    add(first, x.half_sum[0], x.scaled_half_sum[0], 0);
    add(second, x.half_sum[1], x.scaled_half_sum[1], 16);
  } else {
    add(first, x.sum, x.scaled_sum, 0);
  }
  return y;
}

// `count` tokens from the `from`-th on of the tile of `width` that begins with token `tile`, with one panel or two
// neighbours, codes unpacked in registers. Two panels read x once for both; more tokens unpack codes once for all.
template <class I, Codes kind, bool offsets, bool halves, int panels, int count>
PARE_KERNEL void from_registers(const Panels& w, int64_t panel, const PanelScales* scales, const Rows& x, int64_t tile,
                                int64_t width, int64_t from, int64_t ahead, typename I::Floats (&y)[panels][count]) {
  using Ints = typename I::Ints;
  BlockReader<I, kind> blocks[] = {{w, panel, ahead}, {w, panel + panels - 1, ahead}};
  const int8_t* qx = x.codes + (tile * x.blocks + from) * kBlockCols;
  const BlockFacts* facts = x.facts + tile * x.blocks + from;
  const typename I::Floats zero = I::splat_float(static_cast<float>(w.zero));
  for (auto& of_panel : y) {
    for (auto& sum : of_panel) sum = I::splat_float(0);
  }
  int64_t b = 0;
  for (int64_t g = 0; b < w.blocks; ++g) {
    const int64_t end = b + scales->group_blocks < w.blocks ? b + scales->group_blocks : w.blocks;
    for (; b < end; ++b, qx += width * kBlockCols, facts += width) {
      const int64_t entry = 16 * (halves ? 2 * b : g);
#pragma GCC unroll 2
      for (int p = 0; p < panels; ++p) {
        Ints first[count], second[count];
#pragma GCC unroll 8
        for (int t = 0; t < count; ++t) first[t] = second[t] = I::splat_int(0);
        blocks[p].next([&](int step, typename I::Bytes u) {
#pragma GCC unroll 8
          for (int t = 0; t < count; ++t) {
            Ints& sum = halves && step >= 4 ? second[t] : first[t];
            sum = I::template dot<is_wide(kind)>(sum, u, qx + kBlockCols * t + 4 * step);
          }
        });
#pragma GCC unroll 8
        for (int t = 0; t < count; ++t) {
          y[p][t] = scaled<I, offsets, halves>(y[p][t], first[t], second[t], zero, scales[p].s + entry,
                                               scales[p].o + entry, facts[t]);
        }
      }
    }
  }
}

// `count` tokens from the `from`-th on of the tile of `width` that begins with token `tile`, with an unpacked panel.
template <class I, int count, bool wide, bool offsets, bool halves>
PARE_KERNEL void token_tile(const Panels& w, const uint8_t* unpacked, const PanelScales& scales, const Rows& x,
                            int64_t tile, int64_t width, int64_t from, typename I::Floats* out) {
  const typename I::Floats zero = I::splat_float(static_cast<float>(w.zero));
  const int8_t* qx = x.codes + (tile * x.blocks + from) * kBlockCols;
  const BlockFacts* facts = x.facts + tile * x.blocks + from;
  typename I::Floats y[count];
#pragma GCC unroll 8
  for (int t = 0; t < count; ++t) y[t] = I::splat_float(0);
  int64_t b = 0;
  for (int64_t g = 0; b < w.blocks; ++g) {
    const int64_t end = b + scales.group_blocks < w.blocks ? b + scales.group_blocks : w.blocks;
    for (; b < end; ++b, qx += width * kBlockCols, facts += width, unpacked += 8 * kStepBytes) {
      typename I::Bytes u[8];
#pragma GCC unroll 8
      for (int s = 0; s < 8; ++s) u[s] = I::load(unpacked + kStepBytes * s);
      const int64_t entry = 16 * (halves ? 2 * b : g);
#pragma GCC unroll 8
      for (int t = 0; t < count; ++t) {
        typename I::Ints first = I::splat_int(0), second = first;
#pragma GCC unroll 8
        for (int s = 0; s < 8; ++s) {
          if (halves && s >= 4) {
            second = I::template dot<wide>(second, u[s], qx + kBlockCols * t + 4 * s);
          } else {
            first = I::template dot<wide>(first, u[s], qx + kBlockCols * t + 4 * s);
          }
        }
        y[t] = scaled<I, offsets, halves>(y[t], first, second, zero, scales.s + entry, scales.o + entry, facts[t]);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < count; ++t) out[t] = y[t];
}

// Calls part.operator()<count>(tile, width, from) for all tokens from `begin` to `end`: tile after tile, and of a tile
// at most `most` tokens at a time, which is a power of two.
template <int most, class Part>
PARE_KERNEL void for_tiles(int64_t tokens, int64_t begin, int64_t end, const Part& part) {
  for (int64_t at = begin, width; at < end; at += width) {
    width = tile_width(tokens, at);
    const int64_t count = width < most ? width : most;
    for (int64_t from = 0; from < width; from += count) {
      if constexpr (most >= 8) {
        if (count == 8) part.template operator()<8>(at, width, from);
      }
      if constexpr (most >= 4) {
        if (count == 4) part.template operator()<4>(at, width, from);
      }
      if constexpr (most >= 2) {
        if (count == 2) part.template operator()<2>(at, width, from);
      }
      if (count == 1) part.template operator()<1>(at, width, from);
    }
  }
}

// All tokens from `begin` to `end` with one unpacked panel. Not for each kind of codes: what is unpacked is alike.
template <class I, bool wide, bool offsets, bool halves>
void all_tiles(const Panels& w, const uint8_t* unpacked, const PanelScales& scales, const Rows& x, int64_t begin,
               int64_t end, int32_t most, float* out, int64_t stride, int lanes) {
  const auto part = [&]<int count>(int64_t tile, int64_t width, int64_t from) {
    typename I::Floats sums[count];
    token_tile<I, count, wide, offsets, halves>(w, unpacked, scales, x, tile, width, from, sums);
    for (int t = 0; t < count; ++t) I::store_lanes(out + (tile + from + t) * stride, sums[t], lanes);
  };
  constexpr int half = I::tile > 1 ? I::tile / 2 : 1;
  if (most >= I::tile) {
    for_tiles<I::tile>(x.tokens, begin, end, part);
  } else {
    for_tiles<half>(x.tokens, begin, end, part);
  }
}

template <class I, Codes kind>
void unpack_panel(const Panels& w, int64_t panel, int64_t ahead, uint8_t* unpacked) {
  BlockReader<I, kind> blocks(w, panel, ahead);
  for (int64_t b = 0; b < w.blocks; ++b) {
    blocks.next([&](int step, typename I::Bytes u) { I::store(unpacked + kStepBytes * (8 * b + step), u); });
  }
}

template <class I, Codes kind, bool offsets, bool halves>
void panels_int8_as(const Panels& w, const Rows& x, const Variant& how, int64_t first, int64_t last, int64_t rows,
                    float* y, int64_t stride, void* room) {
  auto* vectors = static_cast<float*>(room);
  const int64_t entries = 2 * w.blocks, group_blocks = is_super(w.scales_kind) ? 1 : w.group_blocks;
  const auto scales_at = [&](float* at) { return PanelScales{at, at + 16 * entries, at + 32 * entries, group_blocks}; };
  // What is unpacked lies after the scales; a second panel's scales lie where nothing is unpacked.
  const PanelScales scales[] = {scales_at(vectors), scales_at(vectors + 48 * entries)};
  auto* unpacked = reinterpret_cast<uint8_t*>(vectors + 48 * entries);
  const auto lanes_of = [&](int64_t panel) {
    const int64_t left = rows - kPanelRows * panel;
    return static_cast<int>(left < kPanelRows ? left : kPanelRows);
  };
  const auto part = [&]<int panels, int count>(int64_t p, int64_t tile, int64_t width, int64_t from) {
    typename I::Floats sums[panels][count];
    from_registers<I, kind, offsets, halves, panels, count>(w, p, scales, x, tile, width, from, how.fetch_ahead, sums);
    for (int i = 0; i < panels; ++i) {
      for (int t = 0; t < count; ++t) {
        I::store_lanes(y + (tile + from + t) * stride + kPanelRows * (p + i - first), sums[i][t], lanes_of(p + i));
      }
    }
  };
  if (x.tokens == 1 || (x.tokens <= kFewTokens && how.in_registers)) {
    int64_t p = first;
    if constexpr (I::register_tile > 1) {
      for (; p + 2 <= last && x.tokens == 1 && how.panels == 2; p += 2) {
        expand_scales<I>(w, p, scales[0], true);
        expand_scales<I>(w, p + 1, scales[1], true);
        part.template operator()<2, 1>(p, 0, 1, 0);
      }
    }
    for (; p < last; ++p) {
      expand_scales<I>(w, p, scales[0], true);
      for_tiles<I::register_tile>(x.tokens, 0, x.tokens, [&]<int count>(int64_t tile, int64_t width, int64_t from) {
        part.template operator()<1, count>(p, tile, width, from);
      });
    }
    return;
  }
  // Tokens go in spans whose codes stay in a cache while panel after panel passes by.
  const int64_t fit = how.span_bytes / (w.blocks * kBlockCols) / kTile * kTile;
  const int64_t span = fit < kTile ? kTile : fit;
  for (int64_t begin = 0; begin < x.tokens; begin += span) {
    const int64_t end = begin + span < x.tokens ? begin + span : x.tokens;
    for (int64_t p = first; p < last; ++p) {
      expand_scales<I>(w, p, scales[0], true);
      unpack_panel<I, kind>(w, p, how.fetch_ahead, unpacked);
      all_tiles<I, I::wide_differs && is_wide(kind), offsets, halves>(
          w, unpacked, scales[0], x, begin, end, how.tile, y + kPanelRows * (p - first), stride, lanes_of(p));
    }
  }
}

// The combinations that there are: halves are of Q2_K (with mins), Q3_K, Q6_K and some tables (without); sparse panels
// and tables have neither zeros of their own nor mins.
template <class I, Codes kind>
void panels_int8_of(const Panels& w, const Rows& x, const Variant& how, int64_t first, int64_t last, int64_t rows,
                    float* y, int64_t stride, void* room) {
  const bool offsets = has_min(w.scales_kind) || w.zeros_stored;
  if constexpr (kind == Codes::bits2 || kind == Codes::bits3 || kind == Codes::bits6 || kind == Codes::table4) {
    constexpr bool mins = kind == Codes::bits2;
    if (has_halves(w.scales_kind))
      return panels_int8_as<I, kind, mins, true>(w, x, how, first, last, rows, y, stride, room);
  }
  if constexpr (kind != Codes::table4 && !is_sparse(kind)) {
    if (offsets) return panels_int8_as<I, kind, true, false>(w, x, how, first, last, rows, y, stride, room);
  }
  panels_int8_as<I, kind, false, false>(w, x, how, first, last, rows, y, stride, room);
}

template <class I>
void panels_int8(const Panels& w, const Rows& x, const Variant& how, int64_t first, int64_t last, int64_t rows,
                 float* y, int64_t stride, void* room) {
  using Function =
      void (*)(const Panels&, const Rows&, const Variant&, int64_t, int64_t, int64_t, float*, int64_t, void*);
  constexpr Function of_kind[] = {
      panels_int8_of<I, Codes::bits2>,  panels_int8_of<I, Codes::bits3>,   panels_int8_of<I, Codes::bits4>,
      panels_int8_of<I, Codes::bits5>,  panels_int8_of<I, Codes::bits6>,   panels_int8_of<I, Codes::bits8>,
      panels_int8_of<I, Codes::table4>, panels_int8_of<I, Codes::sparse4>, panels_int8_of<I, Codes::sparse8>};
  of_kind[static_cast<int>(w.codes_kind)](w, x, how, first, last, rows, y, stride, room);
}

// ---- f32 ------------------------------------------------------------------------------------------------------------

// values [32 blocks][16]: column by column, a lane a row.
template <class I, Codes kind>
void decode_panel(const Panels& w, int64_t panel, int64_t ahead, const PanelScales& scales, float* values) {
  using Floats = typename I::Floats;
  BlockReader<I, kind> blocks(w, panel, ahead);
  const bool halves = has_halves(w.scales_kind);
  for (int64_t b = 0; b < w.blocks; ++b) {
    blocks.next([&](int step, typename I::Bytes u) {
      const int64_t e = 16 * (halves ? 2 * b + step / 4 : b / scales.group_blocks);
      const Floats s = I::load_f32(scales.s + e), z = I::load_f32(scales.z + e), o = I::load_f32(scales.o + e);
      float* out = values + 16 * (kBlockCols * b + 4 * step);
      const auto put = [&](int j, Floats code) { I::store_f32(out + 16 * j, I::fma(I::sub(code, z), s, o)); };
      put(0, I::template byte_of<0>(u));
      put(1, I::template byte_of<1>(u));
      put(2, I::template byte_of<2>(u));
      put(3, I::template byte_of<3>(u));
    });
  }
}

template <class I, int count>
PARE_KERNEL void float_tile(const float* values, int64_t cols, const Rows& x, int64_t token, typename I::Floats* y) {
  using Floats = typename I::Floats;
  Floats sum[count][4];
#pragma GCC unroll 16
  for (int t = 0; t < count; ++t) {
    for (int j = 0; j < 4; ++j) sum[t][j] = I::splat_float(0);
  }
  const float* src = x.values + token * cols;
  for (int64_t k = 0; k < cols; k += 4) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Floats v = I::load_f32(values + 16 * (k + j));
#pragma GCC unroll 16
      for (int t = 0; t < count; ++t) sum[t][j] = I::fma(v, I::splat_float(src[t * cols + k + j]), sum[t][j]);
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < count; ++t) y[t] = I::plus(I::plus(sum[t][0], sum[t][1]), I::plus(sum[t][2], sum[t][3]));
}

template <class I, int count, class Tile, class Store>
PARE_KERNEL void tiles_of(int64_t tokens, int64_t& token, const Tile& tile, const Store& store) {
  for (; token + count <= tokens; token += count) {
    typename I::Floats y[count];
    tile.template operator()<count>(token, y);
    for (int t = 0; t < count; ++t) store(token + t, y[t]);
  }
}

template <class I>
void panels_f32(const Panels& w, const Rows& x, const Variant& how, int64_t first, int64_t last, int64_t rows, float* y,
                int64_t stride, void* room) {
  using Function = void (*)(const Panels&, int64_t, int64_t, const PanelScales&, float*);
  constexpr Function of_kind[] = {
      decode_panel<I, Codes::bits2>,  decode_panel<I, Codes::bits3>,   decode_panel<I, Codes::bits4>,
      decode_panel<I, Codes::bits5>,  decode_panel<I, Codes::bits6>,   decode_panel<I, Codes::bits8>,
      decode_panel<I, Codes::table4>, decode_panel<I, Codes::sparse4>, decode_panel<I, Codes::sparse8>};
  auto* vectors = static_cast<float*>(room);
  const int64_t entries = 2 * w.blocks, cols = w.blocks * kBlockCols;
  const PanelScales scales{vectors, vectors + 16 * entries, vectors + 32 * entries,
                           is_super(w.scales_kind) ? 1 : w.group_blocks};
  float* values = vectors + 48 * entries;
  for (int64_t p = first; p < last; ++p) {
    float* out = y + kPanelRows * (p - first);
    const int64_t lanes = rows - kPanelRows * p < kPanelRows ? rows - kPanelRows * p : kPanelRows;
    const auto store = [&](int64_t token, typename I::Floats value) {
      I::store_lanes(out + token * stride, value, static_cast<int>(lanes));
    };
    expand_scales<I>(w, p, scales, false);
    of_kind[static_cast<int>(w.codes_kind)](w, p, how.fetch_ahead, scales, values);
    int64_t token = 0;
    const auto tile = [&]<int count>(int64_t at, typename I::Floats* sums) {
      float_tile<I, count>(values, cols, x, at, sums);
    };
    tiles_of<I, I::float_tile>(x.tokens, token, tile, store);
    if constexpr (I::float_tile > 2) tiles_of<I, 2>(x.tokens, token, tile, store);
    tiles_of<I, 1>(x.tokens, token, tile, store);
  }
}

}  // namespace
}  // namespace pare::cpu
