#include "pare/weights/encode/lattice_code.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "pare/base/error.h"
#include "pare/weights/encode/lattice_pack.h"

namespace pare {
namespace {

using gguf::CodeBook;
using Signs = LatticeCode::Signs;
using Shift = LatticeCode::Shift;

constexpr int kMostHalves = 81;  // 3^4 or 8^2 points of half the digits

constexpr LatticeCode kCodes[] = {
    {16, &gguf::kBookIq2Xxs, {8, 25, 43}, Signs::even, Shift::none, 32, 31, 0.125f, 20, gguf::pack_iq2_xxs},
    {17, &gguf::kBookIq2Xs, {8, 25, 43}, Signs::even, Shift::none, 16, 31, 0.125f, 20, gguf::pack_iq2_xs},
    {18,
     &gguf::kBookIq3Xxs,
     {4, 12, 20, 28, 36, 44, 52, 62},
     Signs::even,
     Shift::none,
     32,
     31,
     0.25f,
     25,
     gguf::pack_iq3_xxs},
    {19, &gguf::kBookIq1, {-8, 0, 8}, Signs::none, Shift::sub_block, 32, 15, 0.125f, 6.5f, gguf::pack_iq1_s},
    {21, &gguf::kBookIq3S, {1, 3, 5, 7, 9, 11, 13, 15}, Signs::free, Shift::none, 32, 31, 1.0f, 6, gguf::pack_iq3_s},
    {22, &gguf::kBookIq2S, {8, 25, 43}, Signs::free, Shift::none, 16, 31, 0.125f, 20, gguf::pack_iq2_s},
    {29, &gguf::kBookIq1, {-8, 0, 8}, Signs::none, Shift::group, 16, 15, 0.125f, 6.5f, gguf::pack_iq1_m},
};

// The entries of a book, in its order: those with the same upper half of the digits are neighbours.
struct Entries {
  struct Run {
    int high, begin, end;
  };

  Entries(const CodeBook& book, const int8_t* levels) {
    halves = 1;
    for (int digit = 0; digit < book.digits / 2; ++digit) halves *= book.base;
    for (size_t w = 0; w < book.members.size(); ++w) {
      for (uint64_t left = book.members[w]; left != 0; left &= left - 1) {
        const int number = static_cast<int>(64 * w) + std::countr_zero(left);
        for (int e = 0, rest = number; e < book.digits; ++e, rest /= book.base) {
          points.push_back(static_cast<float>(levels[rest % book.base]));
        }
        const auto at = static_cast<int>(low.size());
        if (runs.empty() || runs.back().high != number / halves) runs.push_back({number / halves, at, at});
        low.push_back(static_cast<uint8_t>(number % halves));
        runs.back().end = at + 1;
      }
    }
    PARE_ASSERT(halves <= kMostHalves && static_cast<int>(low.size()) == book.entries);
  }

  int halves;
  std::vector<uint8_t> low;
  std::vector<Run> runs;
  std::vector<float> points;  // [entry][digit]
};

const Entries& entries_of(const LatticeCode& code) {
  static const std::vector<Entries> all = [] {
    std::vector<Entries> made;
    for (const LatticeCode& one : kCodes) made.emplace_back(*one.book, one.levels);
    return made;
  }();
  return all[static_cast<size_t>(&code - kCodes)];
}

// A point costs the sum of what its coordinates cost, each of which has few levels: the sums over half of the digits
// are all made first, and an entry is then one addition.
struct HalfCosts {
  Lanes cost[kMostHalves];
  Lanes flip[kMostHalves];  // what the cheapest wrong sign among the half's coordinates adds
};

// cost, flip: [coordinate][level] of the half's coordinates.
PARE_INLINE void fill_half(int base, int coordinates, const Lanes (*cost)[8], const Lanes (*flip)[8], bool flips,
                           HalfCosts& half) {
  half.cost[0] = Lanes{};
  half.flip[0] = all_lanes(3e38f);
  for (int size = 1, e = 0; e < coordinates; size *= base, ++e) {
    for (int digit = base - 1; digit >= 0; --digit) {  // 0 last: it overwrites what the others start from
      for (int i = 0; i < size; ++i) {
        half.cost[digit * size + i] = half.cost[i] + cost[e][digit];
        if (flips) half.flip[digit * size + i] = lane_min(half.flip[i], flip[e][digit]);
      }
    }
  }
}

// The best entry of each row by its cost, and the run that it is in.
struct Found {
  Lanes cost = all_lanes(3e38f);
  LaneBits run = {};
};

PARE_INLINE void take(const Lanes& cost, int run, Found& found) {
  const LaneBits better = cost < found.cost;
  found.cost = better ? cost : found.cost;
  found.run = better ? LaneBits{} + run : found.run;
}

// Of all entries, and of all entries with one sign wrong. wrong_low: cost and flip of the lower half together.
PARE_INLINE void search(const Entries& entries, const HalfCosts& low, const HalfCosts& high, const Lanes* wrong_low,
                        bool flips, Found& found, Found& flipped) {
  const uint8_t* lows = entries.low.data();
  for (int r = 0; r < static_cast<int>(entries.runs.size()); ++r) {
    const Entries::Run run = entries.runs[static_cast<size_t>(r)];
    Lanes least = low.cost[lows[run.begin]];
    for (int i = run.begin + 1; i < run.end; ++i) least = lane_min(low.cost[lows[i]], least);
    take(least + high.cost[run.high], r, found);
    if (!flips) continue;
    Lanes wrong = wrong_low[lows[run.begin]];
    for (int i = run.begin + 1; i < run.end; ++i) wrong = lane_min(wrong_low[lows[i]], wrong);
    take(lane_min(least + high.flip[run.high], wrong) + high.cost[run.high], r, flipped);
  }
}

// The entry of one row in its best run.
int entry_in(const Entries& entries, const HalfCosts& low, const HalfCosts& high, const Lanes* wrong_low, bool flipped,
             int run, int lane) {
  const Entries::Run& among = entries.runs[static_cast<size_t>(run)];
  int best = among.begin;
  float least = 3e38f;
  for (int i = among.begin; i < among.end; ++i) {
    const int half = entries.low[static_cast<size_t>(i)];
    float cost = low.cost[half][lane];
    if (flipped) cost = std::min(cost + high.flip[among.high][lane], wrong_low[half][lane]);
    if (cost < least) {
      least = cost;
      best = i;
    }
  }
  return best;
}

struct Query {
  const LatticeCode& code;
  const Entries& entries;
  Lanes scale;
  Lanes sizes[kLatticeGroup];  // of the targets, which are negative where `minus`; with Signs::none the targets
  LaneBits minus[kLatticeGroup];
  Lanes weights[kLatticeGroup];
};

// What one piece's coordinates, from `first` on, cost: made by prepare, then searched.
struct Piece {
  HalfCosts low, high;
  Lanes wrong_low[kMostHalves];
  Found found, flipped;
};

PARE_INLINE void search_piece(const Query& q, int first, const Lanes& shift, Piece& piece) {
  const CodeBook& book = *q.code.book;
  const bool flips = q.code.signs == Signs::even;
  const int half = book.digits / 2;
  for (int h = 0; h < 2; ++h) {
    Lanes cost[4][8], flip[4][8];
    for (int e = 0; e < half; ++e) {
      const int place = first + h * half + e;
      for (int digit = 0; digit < book.base; ++digit) {
        const Lanes point = q.scale * (static_cast<float>(q.code.levels[digit]) + shift);
        const Lanes gap = q.sizes[place] - point;
        cost[e][digit] = q.weights[place] * gap * gap;
        if (flips) flip[e][digit] = 4.0f * q.weights[place] * point * q.sizes[place];
      }
    }
    fill_half(book.base, half, cost, flip, flips, h == 0 ? piece.low : piece.high);
  }
  if (flips) {
    for (int i = 0; i < q.entries.halves; ++i) piece.wrong_low[i] = piece.low.cost[i] + piece.low.flip[i];
  }
  search(q.entries, piece.low, piece.high, piece.wrong_low, flips, piece.found, piece.flipped);
}

// What the best entries of the sixteen rows stand for; `flipped`: rows that take the best with a wrong sign.
void write_values(const Query& q, int first, const Piece& piece, const LaneBits& flipped, const Lanes& shift,
                  Lanes* values) {
  const int digits = q.code.book->digits;
  auto* const to = reinterpret_cast<float*>(values + first);
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool wrong = flipped[lane] != 0;
    const int run = wrong ? piece.flipped.run[lane] : piece.found.run[lane];
    const int entry = entry_in(q.entries, piece.low, piece.high, piece.wrong_low, wrong, run, lane);
    const float* point = q.entries.points.data() + entry * digits;
    for (int e = 0; e < digits; ++e) to[e * kLanes + lane] = point[e];
  }
  for (int e = first; e < first + digits; ++e) values[e] += shift;
}

// Where the number of minuses has to change: the sign that costs least, among the coordinates first .. last - 1.
PARE_INLINE void flip_cheapest(const Query& q, const LaneBits& rows, int first, int last, const Lanes* values,
                               LaneBits* minus) {
  Lanes least = all_lanes(3e38f);
  LaneBits at = {};
  for (int e = first; e < last; ++e) {
    const Lanes cost = q.weights[e] * q.sizes[e] * values[e];
    const LaneBits better = cost < least;
    least = better ? cost : least;
    at = better ? LaneBits{} + e : at;
  }
  for (int e = first; e < last; ++e) minus[e] ^= rows & (at == e);
}

PARE_INLINE void nearest_shifted(const Query& q, const Lanes& shift, Lanes* values) {
  Piece piece;
  search_piece(q, 0, shift, piece);
  write_values(q, 0, piece, LaneBits{}, shift, values);
  if (q.code.shift != Shift::group) return;
  Piece other;
  search_piece(q, 0, -shift, other);
  Lanes others[kLatticeGroup];
  write_values(q, 0, other, LaneBits{}, -shift, others);
  const LaneBits better = other.found.cost < piece.found.cost;
  for (int e = 0; e < kLatticeGroup; ++e) values[e] = better ? others[e] : values[e];
}

PARE_INLINE void nearest_signed(const Query& q, Lanes* values) {
  const CodeBook& book = *q.code.book;
  const int pieces = kLatticeGroup / book.digits;
  LaneBits minus[kLatticeGroup], odd = {};
  for (int e = 0; e < kLatticeGroup; ++e) {
    minus[e] = q.minus[e];
    odd ^= minus[e];
  }
  Piece piece[2];
  for (int p = 0; p < pieces; ++p) search_piece(q, p * book.digits, Lanes{}, piece[p]);
  // the piece that takes a wrong sign, where the number of minuses must be even and is not
  LaneBits wrong[2] = {};
  if (q.code.signs == Signs::even) {
    const LaneBits second =
        pieces == 2 ? piece[0].found.cost + piece[1].flipped.cost < piece[0].flipped.cost + piece[1].found.cost
                    : LaneBits{};
    wrong[0] = odd & ~second;
    wrong[1] = odd & second;
  }
  for (int p = 0; p < pieces; ++p) {
    const int first = p * book.digits;
    write_values(q, first, piece[p], wrong[p], Lanes{}, values);
    flip_cheapest(q, wrong[p], first, first + book.digits, values, minus);
  }
  for (int e = 0; e < kLatticeGroup; ++e) values[e] = minus[e] ? -values[e] : values[e];
}

PARE_INLINE void nearest_from(const LatticeCode& code, const float* target, const float* weights, const float* scale,
                              const float* shift, float* values) {
  Query q{
      .code = code, .entries = entries_of(code), .scale = load_lanes(scale), .sizes = {}, .minus = {}, .weights = {}};
  for (int e = 0; e < kLatticeGroup; ++e) {
    const Lanes t = load_lanes(target + e * kLanes);
    q.minus[e] = code.signs == Signs::none ? LaneBits{} : (t < 0);
    q.sizes[e] = code.signs == Signs::none ? t : lane_abs(t);
    q.weights[e] = load_lanes(weights + e * kLanes);
  }
  Lanes points[kLatticeGroup];
  if (code.signs == Signs::none) {
    nearest_shifted(q, code.shift == Shift::sub_block ? load_lanes(shift) : all_lanes(1.0f), points);
  } else {
    nearest_signed(q, points);
  }
  for (int e = 0; e < kLatticeGroup; ++e) store_lanes(values + e * kLanes, points[e]);
}

}  // namespace

const LatticeCode* lattice_code(const GgmlType& type) {
  for (const LatticeCode& code : kCodes) {
    if (code.id == type.id) return &code;
  }
  return nullptr;
}

void nearest_points(const LatticeCode& code, const float* target, const float* weights, const float* scale,
                    const float* shift, float* values, simd::Level level) {
  simd::run_at(level,
               [=, &code](auto) PARE_ALWAYS_INLINE { nearest_from(code, target, weights, scale, shift, values); });
}

}  // namespace pare
