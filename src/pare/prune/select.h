// Exact selection: which k of the scores go. Equal scores go by position, row by row, the first first; so the count
// is exact whatever the values, and the same set goes for any number of threads.
#pragma once

#include <cstdint>

namespace pare {

// A rectangle of scores (>= 0, no NaN) and of the flags to set: 1 kept, 0 goes. Rows lie `..._stride` apart.
struct Selection {
  const float* scores;
  int64_t rows, columns, score_stride;
  uint8_t* keep;
  int64_t keep_stride;
};

// The `count` smallest of the whole rectangle go. Three counting passes over the bits of the scores, no sorting.
void drop_smallest(const Selection& selection, int64_t count);
// The `count` smallest of each row go.
void drop_smallest_of_each_row(const Selection& selection, int64_t count);
// Of every m consecutive scores of a row the n largest stay. columns is a multiple of m.
void keep_largest_of_each_group(const Selection& selection, int n, int m);

}  // namespace pare
