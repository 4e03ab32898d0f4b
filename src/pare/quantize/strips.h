// Rows of a weight cut into strips, the unit of work of all solvers here: rows are independent, so a strip goes through
// the whole solve on one thread, and the answer does not depend on how many threads there are or how rows are cut.
//
// A strip holds its rows column by column: value (row r, column c) at [c * width + r]; `width` is a multiple of 16
// lanes, the rows past `count` are zeros.
#pragma once

#include <cstdint>
#include <vector>

namespace pare {

struct Strip {
  int64_t first = 0, count = 0, width = 0;  // rows
};

std::vector<Strip> cut_rows(int64_t rows);
// src, dst: row-major [rows, columns] of the whole weight.
void load_strip(const float* src, int64_t columns, const Strip& strip, float* values);
void store_strip(const float* values, int64_t columns, const Strip& strip, float* dst);

// loss[r] = d_r H d_r^T of each row d of the strip, H [columns, columns] symmetric. Half the products of D H.
void quadratic_form(const float* strip_values, const Strip& strip, const float* h, int64_t columns, double* loss);

}  // namespace pare
