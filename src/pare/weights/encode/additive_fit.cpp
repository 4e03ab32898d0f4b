#include "pare/weights/encode/additive_fit.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <thread>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/base/float_types.h"
#include "pare/base/interrupt.h"
#include "pare/base/lanes.h"
#include "pare/base/random.h"

namespace pare {
namespace {

constexpr int kMostBits = 12;
constexpr int64_t kMostBooksToFit = 8, kMostColumns = 32;
constexpr int64_t kPointsAnEntry = 256;  // codebooks are fitted to a sample of so many points for each entry,
constexpr int64_t kLeastSample = 65536;  // and of at least so many
constexpr int kMeansRounds = 8, kFitRounds = 4, kBookPasses = 3, kCodeSweeps = 2;
constexpr int kBeam = 4;         // of the codes that are kept; while codebooks are fitted there is none
constexpr float kFar = 3e38f;    // beyond any score, and less itself it is nothing
constexpr int64_t kChunks = 64;  // sums are taken by chunk and then in order, for the same bytes on any machine

float as_f16(float value) {
  std::byte stored[2];
  from_float(Dtype::f16, &value, 1, stored);
  to_float(Dtype::f16, stored, 1, &value);
  return value;
}

// Calls work(chunk, first, last) for parts of 0 .. count, on all processors.
void for_each_chunk(int64_t count, const std::function<void(int64_t, int64_t, int64_t)>& work) {
  const int64_t threads = std::clamp<int64_t>(std::thread::hardware_concurrency(), 1, kChunks);
  const auto some = [&](int64_t thread) {
    for (int64_t chunk = thread; chunk < kChunks; chunk += threads) {
      // whole batches of lanes, so that it does not matter where a chunk ends
      const auto edge = [&](int64_t i) { return std::min(count, (count / kLanes * i / kChunks) * kLanes); };
      work(chunk, edge(chunk), chunk + 1 == kChunks ? count : edge(chunk + 1));
    }
  };
  std::vector<std::jthread> workers;
  for (int64_t t = 1; t < threads; ++t) workers.emplace_back(some, t);
  some(0);
}

// Groups of `size` numbers, and how much each group's error counts.
struct Points {
  int64_t count = 0, size = 0;
  std::vector<float> values = {};   // [count, size]
  std::vector<float> weights = {};  // [count]
};

struct Books {
  int64_t books = 0, entries = 0, size = 0;
  std::vector<float> values = {};  // [books, entries, size]
  std::vector<float> halves = {};  // [books, entries]: half of each entry's square

  float* entry(int64_t book, int64_t index) { return values.data() + (book * entries + index) * size; }
  const float* entry(int64_t book, int64_t index) const { return values.data() + (book * entries + index) * size; }

  void update_halves() {
    halves.resize(as_size(books * entries));
    for (size_t i = 0; i < halves.size(); ++i) {
      float square = 0;
      for (int64_t t = 0; t < size; ++t) {
        const float value = values[i * as_size(size) + as_size(t)];
        square += value * value;
      }
      halves[i] = square / 2;
    }
  }
};

// All bits where x < 0. GCC 12 stops with an internal error where a comparison's mask lives on into another loop.
PARE_INLINE LaneBits sign_of(const Lanes& x) {
  return reinterpret_cast<LaneBits>(x) >> 31;
}
// a where the mask is set, else b.
PARE_INLINE LaneBits choose(const LaneBits& mask, const LaneBits& a, const LaneBits& b) {
  return (a & mask) | (b & ~mask);
}

// Sixteen points against one book. What an entry c leaves of a residual r is smallest where c^2/2 - r.c is.
class Batch {
 public:
  Batch(const Books& books, int64_t used, int beam) : books_(books), used_(used), beam_(used == 1 ? 1 : beam) {}

  // Codes of all `used` books for sixteen points x [size] columns; codes: [used] columns.
  PARE_INLINE void encode(const Lanes* x, LaneBits* codes) const {
    Lanes residual[kMostColumns];
    LaneBits starts[kBeam], trial[kMostBooksToFit];
    if (beam_ == 1) {
      starts[0] = nearest(x, 0);
    } else {
      best_starts(x, starts);
    }
    Lanes least = all_lanes(kFar);
    for (int b = 0; b < beam_; ++b) {
      copy(x, residual);
      trial[0] = starts[b];
      subtract(residual, 0, trial[0]);
      for (int64_t book = 1; book < used_; ++book) {
        trial[book] = nearest(residual, book);
        subtract(residual, book, trial[book]);
      }
      for (int sweep = 0; sweep < kCodeSweeps && used_ > 1; ++sweep) {
        for (int64_t book = 0; book < used_; ++book) {
          add(residual, book, trial[book]);
          trial[book] = nearest(residual, book);
          subtract(residual, book, trial[book]);
        }
      }
      const Lanes error = square(residual);
      const LaneBits better = sign_of(error - least);
      least = lane_min(error, least);
      for (int64_t book = 0; book < used_; ++book) codes[book] = choose(better, trial[book], codes[book]);
    }
  }

  PARE_INLINE void subtract(Lanes* r, int64_t book, const LaneBits& codes) const { move(r, book, codes, -1.0f); }

 private:
  PARE_INLINE void copy(const Lanes* from, Lanes* to) const {
    for (int64_t t = 0; t < books_.size; ++t) to[t] = from[t];
  }
  PARE_INLINE Lanes square(const Lanes* r) const {
    Lanes sum{};
    for (int64_t t = 0; t < books_.size; ++t) sum += r[t] * r[t];
    return sum;
  }
  PARE_INLINE void add(Lanes* r, int64_t book, const LaneBits& codes) const { move(r, book, codes, 1.0f); }
  PARE_INLINE void move(Lanes* r, int64_t book, const LaneBits& codes, float sign) const {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float* entry = books_.entry(book, codes[lane]);
      for (int64_t t = 0; t < books_.size; ++t) r[t][lane] += sign * entry[t];
    }
  }
  PARE_INLINE Lanes score(const Lanes* r, int64_t book, int64_t index) const {
    const float* entry = books_.entry(book, index);
    Lanes left = all_lanes(books_.halves[as_size(book * books_.entries + index)]);
    for (int64_t t = 0; t < books_.size; ++t) left -= r[t] * entry[t];
    return left;
  }
  PARE_INLINE LaneBits nearest(const Lanes* r, int64_t book) const {
    Lanes least = all_lanes(kFar);
    LaneBits code{};
    for (int64_t k = 0; k < books_.entries; ++k) {
      const Lanes one = score(r, book, k);
      const LaneBits better = sign_of(one - least);
      least = lane_min(one, least);
      code = choose(better, LaneBits{} + static_cast<int32_t>(k), code);
    }
    return code;
  }
  // The kBeam best entries of the first book.
  PARE_INLINE void best_starts(const Lanes* x, LaneBits* codes) const {
    Lanes least[kBeam];
    for (int b = 0; b < kBeam; ++b) {
      least[b] = all_lanes(kFar);
      codes[b] = LaneBits{};
    }
    for (int64_t k = 0; k < books_.entries; ++k) {
      Lanes one = score(x, 0, k);
      LaneBits code = LaneBits{} + static_cast<int32_t>(k);
      for (int b = 0; b < kBeam; ++b) {
        const LaneBits better = sign_of(one - least[b]);
        const Lanes worse = lane_max(one, least[b]);
        const LaneBits worse_code = choose(better, codes[b], code);
        least[b] = lane_min(one, least[b]);
        codes[b] = choose(better, code, codes[b]);
        one = worse;
        code = worse_code;
      }
    }
  }

  const Books& books_;
  int64_t used_;
  int beam_;
};

// Sixteen points from `first`, the last of all again beyond the end.
PARE_INLINE void load(const Points& points, int64_t first, Lanes* x) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const float* point = points.values.data() + std::min(first + lane, points.count - 1) * points.size;
    for (int64_t t = 0; t < points.size; ++t) x[t][lane] = point[t];
  }
}

// The codes of the first `used` books, [count, used].
void encode(const Points& points, const Books& books, int64_t used, int beam, std::vector<uint16_t>& codes) {
  codes.resize(as_size(points.count * used));
  uint16_t* out = codes.data();
  for_each_chunk(points.count, [&](int64_t, int64_t begin, int64_t end) {
    simd::run_at(simd::best_level(), [&points, &books, used, beam, out, begin, end](auto) PARE_ALWAYS_INLINE {
      const Batch batch(books, used, beam);
      Lanes x[kMostColumns];
      LaneBits found[kMostBooksToFit];
      for (int64_t first = begin; first < end; first += kLanes) {
        load(points, first, x);
        for (int64_t book = 0; book < used; ++book) found[book] = LaneBits{};
        batch.encode(x, found);
        const int64_t count = std::min<int64_t>(kLanes, end - first);
        for (int64_t i = 0; i < count; ++i) {
          for (int64_t book = 0; book < used; ++book) {
            out[(first + i) * used + book] = static_cast<uint16_t>(found[book][static_cast<int>(i)]);
          }
        }
      }
    });
  });
}

// `point` less its entries of all books but one.
void residual_of(const Points& points, const Books& books, const std::vector<uint16_t>& codes, int64_t used,
                 int64_t point, int64_t except, float* residual) {
  const float* value = points.values.data() + point * points.size;
  std::copy(value, value + points.size, residual);
  for (int64_t book = 0; book < used; ++book) {
    if (book == except) continue;
    const float* entry = books.entry(book, codes[as_size(point * used + book)]);
    for (int64_t t = 0; t < points.size; ++t) residual[t] -= entry[t];
  }
}

// Each entry becomes the weighted mean of what the other books leave of the points that have it. One that no point has
// becomes what is left of a point taken by chance, where `refill`.
void update_book(const Points& points, Books& books, const std::vector<uint16_t>& codes, int64_t used, int64_t book,
                 const CounterRandom* refill) {
  const int64_t entries = books.entries, size = books.size;
  std::vector<std::vector<double>> sums(kChunks);
  for_each_chunk(points.count, [&](int64_t chunk, int64_t begin, int64_t end) {
    std::vector<double>& sum = sums[as_size(chunk)];  // [entries, size + 1], the weight last
    sum.assign(as_size(entries * (size + 1)), 0.0);
    float residual[kMostColumns];
    for (int64_t i = begin; i < end; ++i) {
      residual_of(points, books, codes, used, i, book, residual);
      double* of = sum.data() + codes[as_size(i * used + book)] * (size + 1);
      const double weight = points.weights[as_size(i)];
      for (int64_t t = 0; t < size; ++t) of[t] += weight * residual[t];
      of[size] += weight;
    }
  });
  for (size_t chunk = 1; chunk < sums.size(); ++chunk) {
    for (size_t i = 0; i < sums[0].size(); ++i) sums[0][i] += sums[chunk][i];
  }
  for (int64_t k = 0; k < entries; ++k) {
    const double* of = sums[0].data() + k * (size + 1);
    float* entry = books.entry(book, k);
    if (of[size] > 0) {
      for (int64_t t = 0; t < size; ++t) entry[t] = static_cast<float>(of[t] / of[size]);
    } else if (refill != nullptr) {
      const auto point =
          static_cast<int64_t>(refill->below(static_cast<uint64_t>(k), static_cast<uint64_t>(points.count)));
      residual_of(points, books, codes, used, point, book, entry);
    }
  }
  books.update_halves();
}

// Residual k-means: each book by Lloyd's rounds on what the earlier ones leave.
Books first_books(const Points& points, const AqlmScheme& scheme) {
  Books books{.books = scheme.books, .entries = int64_t{1} << scheme.bits, .size = points.size};
  books.values.resize(as_size(books.books * books.entries * books.size));
  books.update_halves();
  Points left = points;
  std::vector<uint16_t> codes;
  for (int64_t book = 0; book < books.books; ++book) {
    Books one{.books = 1, .entries = books.entries, .size = books.size};
    one.values.resize(as_size(one.entries * one.size));
    const CounterRandom random(static_cast<uint64_t>(book), "codebooks");
    for (int64_t k = 0; k < one.entries; ++k) {
      // from a stretch of the sample of its own, so that no point is taken twice while there are enough
      const int64_t first = points.count * k / one.entries,
                    end = std::max(first + 1, points.count * (k + 1) / one.entries);
      const auto of = static_cast<int64_t>(random.below(static_cast<uint64_t>(k), static_cast<uint64_t>(end - first)));
      const float* point = left.values.data() + std::min(points.count - 1, first + of) * points.size;
      std::copy(point, point + points.size, one.entry(0, k));
    }
    one.update_halves();
    for (int round = 0; round < kMeansRounds; ++round) {
      encode(left, one, 1, 1, codes);
      const CounterRandom refill(static_cast<uint64_t>(book * kMeansRounds + round), "empty clusters");
      update_book(left, one, codes, 1, 0, round + 1 < kMeansRounds ? &refill : nullptr);
      stop_if_interrupted();
    }
    encode(left, one, 1, 1, codes);
    for (int64_t i = 0; i < left.count; ++i) {
      const float* entry = one.entry(0, codes[as_size(i)]);
      for (int64_t t = 0; t < left.size; ++t) left.values[as_size(i * left.size + t)] -= entry[t];
    }
    std::copy(one.values.begin(), one.values.end(), books.entry(book, 0));
  }
  books.update_halves();
  return books;
}

Books fitted_books(const Points& points, const AqlmScheme& scheme) {
  Books books = first_books(points, scheme);
  std::vector<uint16_t> codes;
  for (int round = 0; round < kFitRounds; ++round) {
    encode(points, books, books.books, 1, codes);
    for (int pass = 0; pass < kBookPasses; ++pass) {
      for (int64_t book = 0; book < books.books; ++book) {
        update_book(points, books, codes, books.books, book, nullptr);
      }
    }
    stop_if_interrupted();
  }
  for (float& value : books.values) value = as_f16(value);
  books.update_halves();
  return books;
}

// One in so many of the points, each from a stretch of its own.
Points sample(const Points& points, int64_t wanted) {
  if (points.count <= wanted) return points;
  Points chosen{.count = wanted, .size = points.size};
  const CounterRandom random(0, "codebook sample");
  for (int64_t i = 0; i < wanted; ++i) {
    const int64_t first = points.count / wanted * i;
    const auto of =
        static_cast<int64_t>(random.below(static_cast<uint64_t>(i), static_cast<uint64_t>(points.count / wanted)));
    const auto point = points.values.begin() + (first + of) * points.size;
    chosen.values.insert(chosen.values.end(), point, point + points.size);
    chosen.weights.push_back(points.weights[as_size(first + of)]);
  }
  return chosen;
}

// Row by row over its root mean square, which goes into `scales`.
Points points_of(const Weight& weight, int64_t size, std::vector<float>& scales, const std::string& name) {
  const int64_t rows = weight.rows(), cols = weight.cols(), groups = cols / size;
  Points points{.count = rows * groups, .size = size, .values = weight.unpack()};
  points.weights.resize(as_size(points.count));
  scales.resize(as_size(rows));
  for (int64_t r = 0; r < rows; ++r) {
    float* row = points.values.data() + r * cols;
    double square = 0;
    for (int64_t c = 0; c < cols; ++c) square += static_cast<double>(row[c]) * static_cast<double>(row[c]);
    const auto root = static_cast<float>(std::sqrt(square / static_cast<double>(cols)));
    const float scale = as_f16(root);
    if (!std::isfinite(scale)) {
      throw InputError(name + ": row " + std::to_string(r) +
                       (std::isfinite(root) ? " is beyond F16" : " holds a value that is not finite"));
    }
    scales[as_size(r)] = scale;
    for (int64_t c = 0; c < cols; ++c) row[c] = scale > 0 ? row[c] / scale : 0;
    for (int64_t g = 0; g < groups; ++g) points.weights[as_size(r * groups + g)] = scale * scale;
  }
  return points;
}

// Of each row, the scale that makes its error least.
void refit_scales(const Points& points, const Books& books, const std::vector<uint16_t>& codes, int64_t groups,
                  std::vector<float>& scales) {
  float entry[kMostColumns];
  for (size_t r = 0; r < scales.size(); ++r) {
    double product = 0, square = 0;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t point = static_cast<int64_t>(r) * groups + g;
      residual_of(points, books, codes, books.books, point, -1, entry);
      for (int64_t t = 0; t < points.size; ++t) {
        const double value = points.values[as_size(point * points.size + t)],
                     sum = value - static_cast<double>(entry[t]);
        product += value * sum;
        square += sum * sum;
      }
    }
    if (square > 0) scales[r] = as_f16(scales[r] * static_cast<float>(std::max(0.0, product / square)));
  }
}

}  // namespace

std::string additive_why_not(const AqlmScheme& scheme, std::span<const int64_t> shape) {
  if (scheme.bits < 1 || scheme.bits > kMostBits) {
    return "codes of 1 to " + std::to_string(kMostBits) + " bits are fitted, not of " + std::to_string(scheme.bits);
  }
  if (scheme.books < 1 || scheme.books > kMostBooksToFit) {
    return "1 to " + std::to_string(kMostBooksToFit) + " codebooks are fitted, not " + std::to_string(scheme.books);
  }
  if (scheme.out_group != 1 || scheme.in_group < 1 || scheme.in_group > kMostColumns) {
    return "groups of 1 x 1 to 1 x " + std::to_string(kMostColumns) + " are fitted";
  }
  if (shape.size() != 2 || shape[0] < 1 || shape[1] % scheme.in_group != 0) {
    return "rows are not whole groups of " + std::to_string(scheme.in_group);
  }
  return {};
}

Weight additive_codes(const Weight& weight, const AqlmScheme& scheme, const std::string& name) {
  PARE_ASSERT(additive_why_not(scheme, weight.shape).empty());
  AdditiveCodes result{.bits = scheme.bits, .books = scheme.books, .in_group = scheme.in_group};
  const Points points = points_of(weight, scheme.in_group, result.scales, name);
  const Books books = fitted_books(sample(points, std::max(kLeastSample, kPointsAnEntry << scheme.bits)), scheme);
  encode(points, books, books.books, kBeam, result.codes);
  refit_scales(points, books, result.codes, weight.cols() / scheme.in_group, result.scales);
  result.codebooks = books.values;
  Weight made{weight.shape, std::move(result), {}};
  check_weight(made, name);
  return made;
}

}  // namespace pare
