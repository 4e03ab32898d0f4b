#include "pare/weights/encode/lattice_pack.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "pare/base/error.h"
#include "pare/weights/lattice_tables.h"

namespace pare::gguf {
namespace {

// Which entry of a book a point is.
class Index {
 public:
  Index(const CodeBook& book, std::vector<int> levels) : book_(book), levels_(std::move(levels)) {
    int entry = 0;
    for (size_t w = 0; w < book.members.size(); ++w) {
      for (int bit = 0; bit < 64; ++bit) entries_.push_back((book.members[w] >> bit) & 1 ? entry++ : -1);
    }
  }

  // size(i): value i of the point, a level.
  template <class Size>
  uint32_t entry(const Size& size) const {
    int number = 0;
    for (int e = book_.digits - 1; e >= 0; --e) {
      const auto level = std::find(levels_.begin(), levels_.end(), size(e));
      PARE_ASSERT(level != levels_.end());
      number = number * book_.base + static_cast<int>(level - levels_.begin());
    }
    const int found = entries_[static_cast<size_t>(number)];
    PARE_ASSERT(found >= 0);
    return static_cast<uint32_t>(found);
  }

 private:
  const CodeBook& book_;
  std::vector<int> levels_;
  std::vector<int> entries_;  // by number
};

const Index& index_iq1() {
  static const Index index(kBookIq1, {-8, 0, 8});
  return index;
}

// The entry of the unsigned point at value `first`.
uint32_t entry_at(const Index& index, const LatticeBlock& block, int first) {
  return index.entry([&](int e) { return std::abs(block.values[first + e]); });
}

uint32_t signs_at(const LatticeBlock& block, int first) {
  uint32_t signs = 0;
  for (int e = 0; e < 8; ++e) signs |= static_cast<uint32_t>(block.values[first + e] < 0) << e;
  return signs;
}
// Those whose last bit follows from the others.
uint32_t seven_signs_at(const LatticeBlock& block, int first) {
  const uint32_t signs = signs_at(block, first);
  PARE_ASSERT(std::popcount(signs) % 2 == 0);
  return signs & 127;
}

void put_u16(uint8_t* dst, uint32_t value) {
  dst[0] = static_cast<uint8_t>(value);
  dst[1] = static_cast<uint8_t>(value >> 8);
}
void put_u32(uint8_t* dst, uint32_t value) {
  put_u16(dst, value);
  put_u16(dst + 2, value >> 16);
}
// 0, 1, 2 ... for 1, 3, 5 ...; half: the first or the second 16 values of a sub-block of 32.
uint32_t scale_at(const LatticeBlock& block, int sub_block, int half = 0) {
  return block.scales[2 * sub_block + half] / 2u;
}

}  // namespace

void pack_iq2_xxs(const LatticeBlock& block, uint8_t* dst) {
  static const Index index(kBookIq2Xxs, {8, 25, 43});
  put_u16(dst, block.d);
  for (int j = 0; j < 8; ++j) {
    uint8_t* entries = dst + 2 + 8 * j;
    uint32_t rest = scale_at(block, j) << 28;
    for (int l = 0; l < 4; ++l) {
      const int first = 32 * j + 8 * l;
      entries[l] = static_cast<uint8_t>(entry_at(index, block, first));
      rest |= seven_signs_at(block, first) << (7 * l);
    }
    put_u32(entries + 4, rest);
  }
}

void pack_iq2_xs(const LatticeBlock& block, uint8_t* dst) {
  static const Index index(kBookIq2Xs, {8, 25, 43});
  put_u16(dst, block.d);
  for (int g = 0; g < 32; ++g) {
    put_u16(dst + 2 + 2 * g, entry_at(index, block, 8 * g) | (seven_signs_at(block, 8 * g) << 9));
  }
  for (int j = 0; j < 8; ++j) {
    dst[66 + j] = static_cast<uint8_t>(scale_at(block, j, 0) | (scale_at(block, j, 1) << 4));
  }
}

void pack_iq2_s(const LatticeBlock& block, uint8_t* dst) {
  static const Index index(kBookIq2S, {8, 25, 43});
  put_u16(dst, block.d);
  std::memset(dst + 66, 0, 8);
  for (int g = 0; g < 32; ++g) {
    const uint32_t entry = entry_at(index, block, 8 * g);
    dst[2 + g] = static_cast<uint8_t>(entry);
    dst[34 + g] = static_cast<uint8_t>(signs_at(block, 8 * g));
    dst[66 + g / 4] |= static_cast<uint8_t>((entry >> 8) << (2 * (g % 4)));
  }
  for (int j = 0; j < 8; ++j) {
    dst[74 + j] = static_cast<uint8_t>(scale_at(block, j, 0) | (scale_at(block, j, 1) << 4));
  }
}

void pack_iq3_xxs(const LatticeBlock& block, uint8_t* dst) {
  static const Index index(kBookIq3Xxs, {4, 12, 20, 28, 36, 44, 52, 62});
  put_u16(dst, block.d);
  for (int j = 0; j < 8; ++j) {
    uint32_t rest = scale_at(block, j) << 28;
    for (int l = 0; l < 4; ++l) {
      const int first = 32 * j + 8 * l;
      uint8_t* entries = dst + 2 + 8 * j + 2 * l;
      entries[0] = static_cast<uint8_t>(entry_at(index, block, first));
      entries[1] = static_cast<uint8_t>(entry_at(index, block, first + 4));
      rest |= seven_signs_at(block, first) << (7 * l);
    }
    put_u32(dst + 66 + 4 * j, rest);
  }
}

void pack_iq3_s(const LatticeBlock& block, uint8_t* dst) {
  static const Index index(kBookIq3S, {1, 3, 5, 7, 9, 11, 13, 15});
  put_u16(dst, block.d);
  std::memset(dst + 66, 0, 8);
  std::memset(dst + 106, 0, 4);
  for (int i = 0; i < 64; ++i) {
    const uint32_t entry = entry_at(index, block, 4 * i);
    dst[2 + i] = static_cast<uint8_t>(entry);
    dst[66 + i / 8] |= static_cast<uint8_t>((entry >> 8) << (i % 8));
  }
  for (int g = 0; g < 32; ++g) dst[74 + g] = static_cast<uint8_t>(signs_at(block, 8 * g));
  for (int j = 0; j < 8; ++j) {
    dst[106 + j / 2] |= static_cast<uint8_t>(scale_at(block, j) << (4 * (j % 2)));
  }
}

namespace {

// Of IQ1: values are 8 g + 1 or 8 g - 1.
bool shifted_down(const LatticeBlock& block, int first) {
  return (block.values[first] & 7) == 7;
}
uint32_t iq1_entry(const LatticeBlock& block, int first) {
  const int shift = shifted_down(block, first) ? -1 : 1;
  return index_iq1().entry([&](int e) { return block.values[first + e] - shift; });
}

}  // namespace

void pack_iq1_s(const LatticeBlock& block, uint8_t* dst) {
  put_u16(dst, block.d);
  for (int j = 0; j < 8; ++j) {
    uint32_t qh = (scale_at(block, j) << 12) | (static_cast<uint32_t>(shifted_down(block, 32 * j)) << 15);
    for (int l = 0; l < 4; ++l) {
      PARE_ASSERT(shifted_down(block, 32 * j + 8 * l) == shifted_down(block, 32 * j));
      const uint32_t entry = iq1_entry(block, 32 * j + 8 * l);
      dst[2 + 4 * j + l] = static_cast<uint8_t>(entry);
      qh |= (entry >> 8) << (3 * l);
    }
    put_u16(dst + 34 + 2 * j, qh);
  }
}

void pack_iq1_m(const LatticeBlock& block, uint8_t* dst) {
  std::memset(dst + 32, 0, 16);
  uint32_t scales[4];
  for (int i = 0; i < 4; ++i) scales[i] = ((block.d >> (4 * i)) & 15u) << 12;
  for (int j = 0; j < 8; ++j) {
    scales[j / 2] |= (scale_at(block, j, 0) | (scale_at(block, j, 1) << 3)) << (6 * (j % 2));
  }
  for (int g = 0; g < 32; ++g) {
    const uint32_t entry = iq1_entry(block, 8 * g);
    dst[g] = static_cast<uint8_t>(entry);
    const uint32_t high = (entry >> 8) | (static_cast<uint32_t>(shifted_down(block, 8 * g)) << 3);
    dst[32 + g / 2] |= static_cast<uint8_t>(high << (4 * (g % 2)));
  }
  for (int i = 0; i < 4; ++i) put_u16(dst + 48 + 2 * i, scales[i]);
}

}  // namespace pare::gguf
