#include "pare/prune/select.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <vector>

#include "pare/base/error.h"
#include "pare/curvature/parallel_tasks.h"

namespace pare {

namespace {

constexpr int64_t kChunkElements = 1 << 18;
constexpr int kDigitBits = 11, kDigits = 3;  // of the 31 bits of a float without its sign
using Counts = std::array<int64_t, 1 << kDigitBits>;

// Floats without a sign are ordered as their bits are.
uint32_t key_of(float score) {
  return std::bit_cast<uint32_t>(score) & 0x7fffffffu;
}

struct Chunk {
  int64_t first, last;  // rows
};

std::vector<Chunk> chunks_of(const Selection& s) {
  const int64_t rows = std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, s.columns));
  std::vector<Chunk> chunks;
  for (int64_t r = 0; r < s.rows; r += rows) chunks.push_back({r, std::min(s.rows, r + rows)});
  return chunks;
}

void in_parallel(const std::vector<Chunk>& chunks, const std::function<void(size_t)>& task) {
  if (chunks.size() == 1) return task(0);
  parallel_tasks(static_cast<int64_t>(chunks.size()), [&](int64_t i) { task(static_cast<size_t>(i)); });
}

}  // namespace

void drop_smallest(const Selection& s, int64_t count) {
  PARE_ASSERT(count >= 0 && count <= s.rows * s.columns);
  const std::vector<Chunk> chunks = chunks_of(s);
  // The threshold, digit by digit from the top: the key of which fewer than `count` are smaller, and at least `count`
  // smaller or equal. `rest` of those equal to it go.
  uint32_t threshold = 0;
  int64_t rest = count;
  if (count > 0) {
    for (int digit = kDigits - 1; digit >= 0; --digit) {
      const int shift = digit * kDigitBits, above = shift + kDigitBits;
      std::vector<Counts> counts(chunks.size());
      in_parallel(chunks, [&](size_t i) {
        Counts& c = counts[i];
        c.fill(0);
        for (int64_t r = chunks[i].first; r < chunks[i].last; ++r) {
          const float* row = s.scores + r * s.score_stride;
          for (int64_t j = 0; j < s.columns; ++j) {
            const uint64_t key = key_of(row[j]);
            if (key >> above == uint64_t{threshold} >> above) ++c[(key >> shift) & (c.size() - 1)];
          }
        }
      });
      for (size_t value = 0;; ++value) {
        int64_t here = 0;
        for (const Counts& c : counts) here += c[value];
        if (rest <= here) {
          threshold |= static_cast<uint32_t>(value << shift);
          break;
        }
        rest -= here;
      }
    }
  }
  // How many equal to the threshold go from each chunk: the first ones.
  std::vector<int64_t> equal(chunks.size());
  if (count > 0) {
    in_parallel(chunks, [&](size_t i) {
      for (int64_t r = chunks[i].first; r < chunks[i].last; ++r) {
        const float* row = s.scores + r * s.score_stride;
        for (int64_t j = 0; j < s.columns; ++j) equal[i] += key_of(row[j]) == threshold;
      }
    });
    for (int64_t& here : equal) {
      const int64_t going = std::min(here, rest);
      rest -= going;
      here = going;
    }
  }
  in_parallel(chunks, [&](size_t i) {
    for (int64_t r = chunks[i].first; r < chunks[i].last; ++r) {
      const float* row = s.scores + r * s.score_stride;
      uint8_t* keep = s.keep + r * s.keep_stride;
      for (int64_t j = 0; j < s.columns; ++j) {
        const uint32_t key = key_of(row[j]);
        const bool goes = count > 0 && (key < threshold || (key == threshold && equal[i]-- > 0));
        keep[j] = goes ? 0 : 1;
      }
    }
  });
}

void drop_smallest_of_each_row(const Selection& s, int64_t count) {
  parallel_tasks(s.rows, [&](int64_t r) {
    Selection row = s;
    row.rows = 1;
    row.scores += r * s.score_stride;
    row.keep += r * s.keep_stride;
    drop_smallest(row, count);
  });
}

void keep_largest_of_each_group(const Selection& s, int n, int m) {
  PARE_ASSERT(s.columns % m == 0 && n >= 0 && n <= m);
  const std::vector<Chunk> chunks = chunks_of(s);
  in_parallel(chunks, [&](size_t i) {
    for (int64_t r = chunks[i].first; r < chunks[i].last; ++r) {
      for (int64_t g = 0; g < s.columns; g += m) {
        const float* scores = s.scores + r * s.score_stride + g;
        uint8_t* keep = s.keep + r * s.keep_stride + g;
        for (int a = 0; a < m; ++a) {
          int smaller = 0;  // how many go before a
          for (int b = 0; b < m; ++b) smaller += scores[b] < scores[a] || (scores[b] == scores[a] && b < a);
          keep[a] = smaller >= m - n;
        }
      }
    }
  });
}

}  // namespace pare
