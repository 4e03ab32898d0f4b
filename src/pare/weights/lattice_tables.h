// The code books of GGUF's types IQ1, IQ2 and IQ3: which points of a grid a code can name. Facts of the format.
//
// A point has `digits` coordinates of `base` levels each and, read with the first digit lowest, is a number below
// base^digits. Each book's entries are in ascending order of these numbers, so that the set says all:
//
//   bit n % 64 of members[n / 64]: the point n is an entry;   entry i is the i-th point that is
#pragma once

#include <cstdint>
#include <span>

namespace pare::gguf {

struct CodeBook {
  int base, digits, entries;
  std::span<const uint64_t> members;
};

extern const CodeBook kBookIq1;     // levels -1, 0, 1
extern const CodeBook kBookIq2Xxs;  // levels 8, 25, 43
extern const CodeBook kBookIq2Xs;
extern const CodeBook kBookIq2S;
extern const CodeBook kBookIq3Xxs;  // levels 4, 12, 20, 28, 36, 44, 52, 62
extern const CodeBook kBookIq3S;    // levels 1, 3, 5 .. 15

}  // namespace pare::gguf
