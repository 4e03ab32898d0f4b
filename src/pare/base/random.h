// Random numbers as a function of (seed, stream, index): the same in any order, on any number of threads.
#pragma once

#include <cstdint>
#include <string_view>

namespace pare {

// SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection that scatters close inputs.
constexpr uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// A stream of its own for each use; the name keeps uses apart ("calibration windows", "sampling").
class CounterRandom {
 public:
  CounterRandom(uint64_t seed, std::string_view use) : key_(mix64(seed)) {
    for (char c : use) key_ = mix64(key_ ^ static_cast<unsigned char>(c));
  }
  uint64_t bits(uint64_t index) const { return mix64(key_ ^ mix64(index)); }
  // In [0, 1), 53 bits.
  double uniform(uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1p-53; }
  // In [0, bound). The bias of the multiplication is below bound / 2^64.
  uint64_t below(uint64_t index, uint64_t bound) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(bits(index)) * bound) >> 64);
  }

 private:
  uint64_t key_;
};

}  // namespace pare
