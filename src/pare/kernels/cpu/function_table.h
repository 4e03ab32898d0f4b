// What a kernel file for one instruction set gives: plain functions over raw memory, in one table.
//
// The files cpu/<isa>.cpp are compiled with that instruction set's flags. They include nothing but this header,
// intrinsics and the templates beside it, and all that they define is local to the file: an inline function of the
// standard library, compiled there and shared by the linker, would run on CPUs that lack the instructions.
#pragma once

#include <cstdint>

namespace pare::cpu {

// ---- Panels of integers -------------------------------------------------------------------------------------------
//
// Rows go in panels of 16, columns in blocks of 32; both are padded (codes 0, scales 0). A block of a panel is 8 steps
// of 4 columns, and a step of 8-bit codes is 64 bytes: byte 4 r + j belongs to row r and column 4 step + j. So one
// 64-byte vector times 4 activations, repeated, adds to 16 sums, one a row, with no sum across lanes ever.
//
//   bits  bytes of a block          where the code of step s is
//   8     8 x 64                    vector s
//   4     4 x 64                    vector s % 4, low nibble for s < 4, else high (Q4_0's own order of columns)
//   2     2 x 64                    vector s % 2, bits 2 (s / 2) and up
//   1     1 x 64                    bit s
//   3, 5, 6                         the block of the low 2, 4, 4 bits, then that of the other 1, 1, 2
//
// Sparse: a block is 8 masks of 64 bits (step after step; bit i: byte i of the step is kept), and the kept codes follow
// each other through the panel in a stream of their own, 8 bits each, or two to a byte, the first low, each step's
// beginning on a byte. What is not kept has the code that means zero, `zero`; sparse panels store no zeros.
//
//   codes  [panels][blocks][64 bits]
enum class Codes : uint8_t {
  bits2,
  bits3,
  bits4,
  bits5,
  bits6,
  bits8,
  table4 /* 4 bits, index of `table` */,
  sparse4,
  sparse8
};

constexpr int64_t kPanelRows = 16, kBlockCols = 32, kStepBytes = 64;
constexpr int stored_bits(Codes codes) {
  constexpr int bits[] = {2, 3, 4, 5, 6, 8, 4, 1, 1};  // sparse: of the masks
  return bits[static_cast<int>(codes)];
}
constexpr bool is_sparse(Codes codes) {
  return codes == Codes::sparse4 || codes == Codes::sparse8;
}

// How the scale s, the zero z and the offset o of   value = s (code - z) + o   are stored; `g` is the scale's group.
enum class Scales : uint8_t {
  f16,
  bf16,
  f32,          // s [g][16]
  f16_min,      // s f16 [g][16], o f16 [g][16] in `zeros`
  f16_halves,   // s for every 16 columns: f16 [block][2][16]                                         (NVFP4)
  super32_min,  // every 256: s = d sc, o = -dmin m; sc, m u8 [block][16]; d, dmin f16 [super][16]   (Q4_K, Q5_K)
  super16_min,  // the same with sc, m for every 16 columns: [block][2][16]                           (Q2_K)
  super32,      // s = d unit sc, sc i8 [block][16]                                   (IQ4_XS, IQ3_*, IQ2_XXS, IQ1_S)
  super16,      // s = d unit sc, sc i8 [block][2][16]                                (Q3_K, Q6_K, IQ2_XS, IQ2_S, IQ1_M)
};
constexpr bool has_halves(Scales scales) {
  return scales == Scales::f16_halves || scales == Scales::super16 || scales == Scales::super16_min;
}
constexpr bool is_super(Scales scales) {
  return scales >= Scales::super32_min;
}
constexpr bool has_min(Scales scales) {
  return scales == Scales::f16_min || scales == Scales::super32_min || scales == Scales::super16_min;
}

struct Panels {
  Codes codes_kind = Codes::bits4;
  Scales scales_kind = Scales::f16;
  int zero = 8;               // of every group, where `zeros` holds none
  float unit = 1;             // of super*'s scales: a power of two that f16 need not hold
  bool zeros_stored = false;  // u8 [g][16] in `zeros`
  int64_t blocks = 0;         // of 32 columns
  int64_t group_blocks = 1;   // blocks that share a scale; the last group may be short
  int64_t groups = 0;         // ceil(blocks / group_blocks)
  const uint8_t* codes = nullptr;
  const uint8_t* scales = nullptr;      // super*: sc, then m where there are any, block by block
  const uint8_t* zeros = nullptr;       // super*: d, then dmin, super-block by super-block
  const uint8_t* kept = nullptr;        // sparse: the streams of kept codes, 64 readable bytes after the last
  const int64_t* kept_start = nullptr;  // [panels + 1] where each panel's begins
  uint8_t table[16] = {};               // of table4: code + zero, so that it is never negative
};
// Bytes of one panel in each stream.
constexpr int64_t panel_code_bytes(const Panels& p) {
  return p.blocks * kStepBytes * stored_bits(p.codes_kind);
}
constexpr int64_t panel_scale_bytes(const Panels& p) {
  switch (p.scales_kind) {
    case Scales::f32:
      return p.groups * 64;
    case Scales::f16_halves:
      return p.blocks * 64;
    case Scales::super32:
      return p.blocks * 16;
    case Scales::super32_min:
    case Scales::super16:
      return p.blocks * 32;
    case Scales::super16_min:
      return p.blocks * 64;
    default:
      return p.groups * 32;
  }
}
constexpr int64_t panel_zero_bytes(const Panels& p) {
  const int64_t supers = (p.blocks + 7) / 8;
  switch (p.scales_kind) {
    case Scales::f16_min:
      return p.groups * 32;
    case Scales::super32:
    case Scales::super16:
      return supers * 32;
    case Scales::super32_min:
    case Scales::super16_min:
      return supers * 64;
    default:
      return p.zeros_stored ? p.groups * 16 : 0;
  }
}

// ---- Activations ----------------------------------------------------------------------------------------------------

// What products with a block's codes need beside them, ready to be broadcast. Sums are whole numbers below 2^24, exact.
struct BlockFacts {
  float scale = 0;
  float sum = 0, scaled_sum = 0;                    // of the 32 codes; times scale
  float half_sum[2] = {}, scaled_half_sum[2] = {};  // of 16 codes each
  float unused = 0;
};

// Of `tokens` rows: values f32 [token][32 blocks]; codes and facts in tiles of as many tokens as tile_width says, tile
// after tile, and within a tile [block][token of the tile]: what a tile of tokens reads next lies next.
struct Rows {
  int64_t tokens = 0, blocks = 0;
  const float* values = nullptr;
  const int8_t* codes = nullptr;
  const BlockFacts* facts = nullptr;
};
constexpr int64_t kTile = 8;
constexpr int64_t tile_width(int64_t tokens, int64_t first) {  // of the tile that begins with token `first`
  const int64_t left = tokens - first;
  return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

// ---- How a product goes ---------------------------------------------------------------------------------------------

constexpr int64_t kFewTokens = 16;

// Every choice gives the same bits; which is fastest depends on the CPU and the shape (kernels/tuning.h).
struct Variant {
  int32_t fetch_ahead = 4096;    // codes are asked for this many bytes before their use; 0: only by the CPU itself
  int32_t panels = 2;            // of one token: panels side by side, 1 or 2
  bool in_registers = true;      // of 2 to 16 tokens: codes go from registers into products, not by way of memory
  int32_t tile = kTile;          // of more tokens: how many at a time, at most (the instruction set may say fewer)
  int64_t span_bytes = 1 << 20;  // of many tokens: whose codes (or values) stay in a cache while the weights pass
  bool operator==(const Variant&) const = default;
};

// ---- Dense rows -----------------------------------------------------------------------------------------------------

enum class DenseType : uint8_t { f16, bf16, f32 };

// Rows of f16 or bf16, most of which are zero: bit i of masks[r][b] says that column 32 b + i is kept.
struct SparseRows {
  DenseType type = DenseType::f16;
  int64_t masks_per_row = 0;           // ceil(cols / 32)
  const uint32_t* masks = nullptr;     // [rows][masks_per_row]
  const uint8_t* kept = nullptr;       // values, row after row, 64 readable bytes after the last
  const int64_t* row_start = nullptr;  // [rows + 1], in values
};

// ---- Attention ------------------------------------------------------------------------------------------------------

// Keys and values of one sequence, layer and key-value head, `dim` padded to whole 16s (zeros) for values:
//   keys    [position / 16][dim][16]     lanes are positions: a score needs no sum across lanes
//   values  [position][padded dim]
// f16, or int8 with an f32 scale for each position (key_scales, value_scales).
struct KeyValues {
  bool int8 = false;
  int64_t dim = 0, padded_dim = 0;
  uint8_t* keys = nullptr;
  uint8_t* values = nullptr;
  float* key_scales = nullptr;
  float* value_scales = nullptr;
};

struct AttentionTask {
  KeyValues cache;
  // Rows of queries, `rows` of them, `stride` floats apart, in groups of `heads` that have the same position: row r is
  // at position first + r / heads and sees positions from max(0, its own - window + 1) to its own.
  const float* queries = nullptr;
  float* out = nullptr;  // the same strides
  int64_t rows = 0, stride = 0, heads = 1, token_stride = 0;
  int64_t first = 0;
  int64_t window = 0;  // 0: all
  float scale = 1, softcap = 0;
};
constexpr int64_t kAttentionChunk = 256;  // positions whose scores are together; fixed, so that sums keep their order
constexpr int64_t kAttentionRows = 32;    // of a task, at most
// Of scratch memory for one task.
constexpr int64_t attention_room(int64_t padded_dim) {
  return 4 * (kAttentionRows * (kAttentionChunk + 2) + kAttentionRows * padded_dim + 2 * kAttentionChunk * padded_dim) +
         4096;
}

// ---- The table ------------------------------------------------------------------------------------------------------

struct FunctionTable {
  const char* name;

  // Codes and facts of each block of x [blocks * 32], those of block b at codes + 32 b stride and facts + b stride:
  // scale = largest / 127, codes to nearest even. A block whose largest is below 2^-100 is all zero.
  void (*quantize)(const float* x, int64_t blocks, int8_t* codes, BlockFacts* facts, int64_t stride);

  // y[token * stride + 16 (panel - first) ...] for panels first .. last - 1, 16 values each; `room` as panel_room()
  // says, 64-byte aligned. Only `rows` of the last panel's values are written when it is the matrix' last.
  void (*panels_int8)(const Panels& w, const Rows& x, const Variant& how, int64_t first, int64_t last, int64_t rows,
                      float* y, int64_t stride, void* room);
  void (*panels_f32)(const Panels& w, const Rows& x, const Variant& how, int64_t first, int64_t last, int64_t rows,
                     float* y, int64_t stride, void* room);

  // y[token * stride + r - first] = w[r] . x[token] for rows first .. last - 1 of w [rows, cols], any alignment.
  void (*dense)(DenseType type, const void* w, int64_t cols, const Rows& x, const Variant& how, int64_t first,
                int64_t last, float* y, int64_t stride);
  // The same bits as `dense` of the rows with their zeros, where x is finite.
  void (*sparse_rows)(const SparseRows& w, const Rows& x, const Variant& how, int64_t first, int64_t last, float* y,
                      int64_t stride, void* room);

  // y = x / sqrt(mean(x^2) + eps) * weight
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float eps, float* y);
  // y = act(gate) * up, act silu or gelu (tanh); y may be either of them
  void (*gated)(bool gelu, const float* gate, const float* up, int64_t n, float* y);
  // x[i], x[i + half] turned by the angle whose cosine and sine are given, for each of `heads` heads.
  void (*rotate)(float* x, const float* cosine, const float* sine, int64_t heads, int64_t half);
  // One position's key and value, [dim] each, into the cache.
  void (*remember)(const KeyValues& cache, int64_t position, const float* key, const float* value);
  void (*attend)(const AttentionTask& task, void* room);

  // For measurements: reads all bytes (64-byte aligned, a multiple of 512) and returns something of them; and does
  // kDots * rounds steps' products (of 64 each) on registers.
  uint64_t (*read)(const uint8_t* src, int64_t bytes);
  int64_t (*dots)(int64_t rounds);
};

constexpr int64_t kDots = 16;  // sums at once: more than an instruction's latency times its rate

// Of scratch memory for one thread: decoded codes or values of a panel, scales and offsets.
constexpr int64_t panel_room(int64_t blocks) {
  return blocks * kBlockCols * kPanelRows * 4 + 6 * blocks * 64 + 4096;
}

extern const FunctionTable kBaseline;
#if defined(__x86_64__)
extern const FunctionTable kAvx2, kAvx512;
#elif defined(__aarch64__)
extern const FunctionTable kNeon;
#endif

}  // namespace pare::cpu
