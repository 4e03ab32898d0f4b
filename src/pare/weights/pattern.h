// Which weights may be removed: a share of all, or n of every m consecutive inputs kept.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pare {

struct Pattern {
  static constexpr int kLargestM = 64;
  double sparsity = 0.5;  // share of zeros; of an n:m pattern 1 - n/m
  int n = 0, m = 0;       // n of m kept; 0, 0: unstructured
  bool structured() const { return m > 0; }
  bool operator==(const Pattern&) const = default;

  // "0.5", "50%", "2:4", "4:8". UsageError otherwise.
  static Pattern parse(std::string_view text);
  std::string text() const;
};

// The unit within which round(sparsity * count) weights go, exactly: what makes the size of a result known beforehand.
enum class PruneUnit { layer, row, tile };  // magnitude; Wanda; SparseGPT (all rows x `tile` columns)

// round(sparsity * count), half away from zero: how many of `count` weights go. For unstructured patterns.
int64_t removed_of(const Pattern& pattern, int64_t count);
// How many of out x in weights are kept. `tile` columns a tile, the last one may be narrower. n:m wants
// in to be a multiple of m.
int64_t kept_count(const Pattern& pattern, PruneUnit unit, int64_t out, int64_t in, int64_t tile = 128);

}  // namespace pare
