// Weight: what a compressed weight IS, whatever method made it and whatever file it came from.
//
// A composition, not a class tree: a base (how values are stored) and, where present, a mask (which are kept). Outliers
// and low-rank terms join here with the methods that make them. unpack() is the meaning: the plain reference that every
// kernel and every writer is tested against.
//
//   value[r, c] = kept(r, c) ? base[r, c] : 0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "pare/io/dtype.h"
#include "pare/io/ggml_type.h"

namespace pare {

// Row-major values of one float type. `data` may be a view into a mapped file (then `owner` keeps that alive).
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(std::vector<std::byte> owned);
  static Bytes view(std::span<const std::byte> bytes, std::shared_ptr<const void> owner);
  std::span<const std::byte> span() const { return view_; }
  size_t size() const { return view_.size(); }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> view_;
};

struct Dense {
  Dtype dtype = Dtype::f32;
  Bytes data;
};

// Integers of `bits` bits on uniform grids, one grid per row and group of `group` inputs:
//   value = scale[r, g] * (code - zero[r, g]),   g = group_of(c),   code and zero in 0 .. 2^bits - 1
// The product is taken in f32 from the stored scale and rounded no further.
struct GroupedInts {
  int bits = 4;                     // 2..8; ternary is bits = 2 with codes 0..2 and zero = 1
  int64_t group = 128;              // inputs that share a scale; the last group of a row may be short
  bool symmetric = true;            // zero == 2^(bits-1) everywhere (ternary: 1); then `zeros` is empty
  Dtype scale_dtype = Dtype::f16;   // f16, bf16 or f32
  std::vector<uint8_t> codes = {};  // [rows, ceil(cols*bits/8)]: each row its own little-endian bit stream
  std::vector<float> scales = {};   // [rows, groups], each exactly representable in scale_dtype
  std::vector<uint8_t> zeros = {};  // [rows, groups], or empty
  std::vector<int32_t> group_index =
      {};  // [cols] group of each column where it is not c / group (read from other tools)
  bool ternary = false;
};

// Blocks as GGUF stores them: rows of cols / block_elements blocks.
struct GgufBlocks {
  const GgmlType* type = nullptr;
  Bytes data;
};

// Groups of out_group x in_group values, each a sum of codebook entries (AQLM; Egiazarian et al. 2024, eq. 3):
//   value[n, in_group*j + t] = scale[n/out_group] * sum_b codebook[b][code[n/out_group, j, b]][n % out_group][t]
// The sum is taken in f32, books in order, and rounded no further.
inline constexpr int64_t kMostBooks = 256, kMostInGroup = 256;  // of any scheme: larger ones are damage
struct AdditiveCodes {
  int bits = 8;  // of one code, 1..16
  int64_t books = 2;
  int64_t out_group = 1, in_group = 8;
  Dtype book_dtype = Dtype::f16;      // f16, bf16 or f32
  Dtype scale_dtype = Dtype::f16;     // f16, bf16 or f32
  std::vector<uint16_t> codes = {};   // [rows / out_group, cols / in_group, books]
  std::vector<float> codebooks = {};  // [books, 2^bits, out_group, in_group], each exact in book_dtype
  std::vector<float> scales = {};     // [rows / out_group], each exact in scale_dtype
};

// Bit c of row r set: kept. Each row starts on a byte, lowest bit first.
struct Mask {
  std::vector<uint8_t> bits;  // [rows, ceil(cols / 8)]
  int n = 0, m = 0;           // n of every m consecutive columns are kept; 0, 0: no such promise
};

struct Weight {
  std::vector<int64_t> shape;  // [out, in]; other ranks only with a dense base
  std::variant<Dense, GroupedInts, GgufBlocks, AdditiveCodes> base;
  std::optional<Mask> mask;

  int64_t rows() const;  // product of all but the last dimension (1 for rank 0)
  int64_t cols() const;
  int64_t elements() const { return rows() * cols(); }

  void unpack(std::span<float> dst) const;  // dst.size() == elements()
  std::vector<float> unpack() const;
  void unpack_rows(int64_t first, int64_t count, std::span<float> dst) const;

  uint64_t bytes() const;          // WeightForm::bytes()
  double bits_per_weight() const;  // 8 * bytes / elements
  std::string describe() const;    // "4-bit, groups of 64, asymmetric", "BF16", "Q4_K", "2:4 of BF16"
};

Weight dense_weight(std::vector<int64_t> shape, Dtype dtype, std::span<const float> values);  // rounds to dtype
// Throws InputError naming `name` when sizes, codes, groups or scales do not fit together or a scale is not finite.
void check_weight(const Weight& weight, const std::string& name);

}  // namespace pare
