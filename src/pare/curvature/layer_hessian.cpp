#include "pare/curvature/layer_hessian.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "pare/base/error.h"
#include "pare/curvature/matmul.h"
#include "pare/curvature/parallel_tasks.h"

namespace pare {

namespace {

// Tiles of H that one task computes. Of n tiles a side (n+1)/2n of the full product is done; below 96 columns the
// product slows down, above 480 nothing is gained. A multiple of 96 is whole panels of the product both ways.
int64_t tile_size(int64_t in) {
  const int64_t sixth = (in + 5) / 6;
  return std::clamp<int64_t>((sixth + 95) / 96 * 96, 96, 480);
}

struct Tile {
  int64_t row, row_count, col, col_count;
};

std::vector<Tile> tiles_of(int64_t in, bool lower_only) {
  const int64_t size = tile_size(in);
  std::vector<Tile> tiles;
  for (int64_t row = 0; row < in; row += size) {
    for (int64_t col = 0; col < (lower_only ? row + 1 : in); col += size) {
      tiles.push_back({row, std::min(size, in - row), col, std::min(size, in - col)});
    }
  }
  return tiles;
}

at::Tensor part(const at::Tensor& matrix, const Tile& tile) {
  return matrix.narrow(0, tile.row, tile.row_count).narrow(1, tile.col, tile.col_count);
}

// sum[c] += x[t, c], sum_sq[c] += x[t, c]^2 token by token: the same whatever batches the tokens come in.
void add_sums(const float* x, int64_t tokens, int64_t stride, int64_t channels, double* sum, double* sum_sq) {
  simd::run_at(simd::best_level(), [=](auto) PARE_ALWAYS_INLINE {
    for (int64_t t = 0; t < tokens; ++t) {
      const float* row = x + t * stride;
      for (int64_t c = 0; c < channels; ++c) {
        const double value = row[c];
        sum[c] += value;
        sum_sq[c] += value * value;  // exact: 24 bits times 24
      }
    }
  });
}

}  // namespace

struct HessianAccumulator::State {
  int64_t in = 0;
  Keep keep = Keep::full;
  int64_t tokens = 0;
  int64_t filled = 0;          // rows of `chunk` in use
  at::Tensor chunk, original;  // [kChunkTokens, in] f32; `original` only when the cross product is asked for
  at::Tensor lower, cross;     // [in, in] f32, sums of products
  at::Tensor sum, sum_sq;      // [in] f64
  std::unique_ptr<PackedColumns> packed, packed_original;

  // Names the token by its sample where the activations came as [samples, length, in]; length 0: by its number.
  std::string place_of(int64_t token, int64_t length) const {
    if (length == 0) return "calibration token " + std::to_string(token);
    return "calibration sample " + std::to_string(token / length) + ", token " + std::to_string(token % length);
  }

  void add_statistics(const at::Tensor& rows, int64_t length, const std::string& where) {
    const int64_t count = rows.size(0);
    const float* x = rows.data_ptr<float>();
    double* s = sum.data_ptr<double>();
    double* s2 = sum_sq.data_ptr<double>();
    constexpr int64_t kChannels = 256;
    parallel_tasks((in + kChannels - 1) / kChannels, [&](int64_t i) {
      const int64_t c = i * kChannels;
      add_sums(x + c, count, in, std::min(kChannels, in - c), s + c, s2 + c);
    });
    // Squares of floats cannot overflow a double, so one sum that is not finite means one input that is not.
    for (int64_t c = 0; c < in; ++c) {
      if (std::isfinite(s2[c])) continue;
      int64_t t = 0;
      while (t < count - 1 && std::isfinite(x[t * in + c])) ++t;
      throw InputError(where + ": the input of this layer is " + (std::isnan(x[t * in + c]) ? "NaN" : "infinite") +
                       " at " + place_of(tokens + t, length) + ", channel " + std::to_string(c) +
                       "; expected finite activations. An earlier layer's weights are damaged or its activations "
                       "overflow: check the model with `pare eval`, or use other calibration text.");
    }
  }

  void flush() {
    if (filled == 0) return;
    if (!lower.defined()) {
      lower = at::zeros({in, in}, at::kFloat);
      packed = std::make_unique<PackedColumns>(in);
    }
    if (original.defined() && !cross.defined()) {
      cross = at::zeros({in, in}, at::kFloat);
      packed_original = std::make_unique<PackedColumns>(in);
    }
    const std::vector<Tile> below = tiles_of(in, true);
    const std::vector<Tile> all = original.defined() ? tiles_of(in, false) : std::vector<Tile>();
    for (int64_t first = 0; first < filled; first += kProductBlock) {
      const int64_t count = std::min(kProductBlock, filled - first);
      pack(*packed, chunk, first, count);
      if (original.defined()) pack(*packed_original, original, first, count);
      add_tiles(lower, below, *packed);
      if (original.defined()) add_tiles(cross, all, *packed_original);
    }
    filled = 0;
  }

  void pack(PackedColumns& into, const at::Tensor& rows, int64_t first, int64_t count) const {
    into.begin(rows.const_data_ptr<float>() + first * in, in, count);
    constexpr int64_t kStep = PackedColumns::kStep;
    parallel_tasks((in + kStep - 1) / kStep, [&](int64_t i) { into.pack(i * kStep, std::min(kStep, in - i * kStep)); });
  }

  // sums += left^T (the chunk's tokens at hand)
  void add_tiles(const at::Tensor& sums, const std::vector<Tile>& tiles, const PackedColumns& left) const {
    float* c = sums.data_ptr<float>();
    parallel_tasks(static_cast<int64_t>(tiles.size()), [&](int64_t i) {
      const Tile& t = tiles[static_cast<size_t>(i)];
      PackedColumns::add_tile(left, *packed, c + t.row * in + t.col, in, t.row, t.row_count, t.col, t.col_count);
    });
  }

  at::Tensor as_rows(const at::Tensor& activations) const {
    PARE_ASSERT(activations.dim() >= 1 && activations.size(-1) == in);
    return activations.detach().reshape({-1, in});
  }

  void add(const at::Tensor& activations, const at::Tensor& originals, const std::string& where) {
    const at::Tensor rows = as_rows(activations);
    const int64_t length = activations.dim() == 3 ? activations.size(1) : 0;
    const at::Tensor rows0 = originals.defined() ? as_rows(originals) : at::Tensor();
    PARE_ASSERT(!rows0.defined() || rows0.size(0) == rows.size(0));
    PARE_ASSERT(tokens == 0 || rows0.defined() == original.defined());  // all tokens have an original, or none
    if (!chunk.defined()) chunk = at::empty({kChunkTokens, in}, at::kFloat);
    if (rows0.defined() && !original.defined()) original = at::empty({kChunkTokens, in}, at::kFloat);
    for (int64_t done = 0; done < rows.size(0);) {
      const int64_t count = std::min(kChunkTokens - filled, rows.size(0) - done);
      const at::Tensor place = chunk.narrow(0, filled, count);
      place.copy_(rows.narrow(0, done, count));
      add_statistics(place, length, where);
      if (rows0.defined()) original.narrow(0, filled, count).copy_(rows0.narrow(0, done, count));
      filled += count;
      done += count;
      tokens += count;
      if (keep == Keep::diagonal) filled = 0;
      if (filled == kChunkTokens) flush();
    }
  }
};

HessianAccumulator::HessianAccumulator(int64_t in, Keep keep) : state_(std::make_unique<State>()) {
  PARE_ASSERT(in > 0);
  state_->in = in;
  state_->keep = keep;
  state_->sum = at::zeros({in}, at::kDouble);
  state_->sum_sq = at::zeros({in}, at::kDouble);
}
HessianAccumulator::~HessianAccumulator() = default;
HessianAccumulator::HessianAccumulator(HessianAccumulator&&) noexcept = default;

void HessianAccumulator::add(const at::Tensor& activations, const std::string& where) {
  state_->add(activations, at::Tensor(), where);
}

void HessianAccumulator::add(const at::Tensor& activations, const at::Tensor& original, const std::string& where) {
  PARE_ASSERT(state_->keep == Keep::full && original.defined());
  state_->add(activations, original, where);
}

int64_t HessianAccumulator::tokens() const {
  return state_->tokens;
}

LayerHessian HessianAccumulator::finish() {
  State& s = *state_;
  LayerHessian result{.h = {}, .sum = s.sum, .sum_sq = s.sum_sq, .cross = {}, .tokens = s.tokens};
  if (s.keep == Keep::full) {
    s.flush();
    s.chunk = s.original = at::Tensor();
    s.packed.reset();
    s.packed_original.reset();
    result.h = s.lower.defined() ? s.lower : at::zeros({s.in, s.in}, at::kFloat);
    const double factor = s.tokens > 0 ? 2.0 / static_cast<double>(s.tokens) : 1.0;
    const auto tiles = tiles_of(s.in, true);
    parallel_tasks(static_cast<int64_t>(tiles.size()), [&](int64_t i) {
      const Tile& tile = tiles[static_cast<size_t>(i)];
      at::Tensor below = part(result.h, tile).mul_(factor);
      if (tile.row == tile.col) {
        below.copy_(below.tril() + below.tril(-1).t());
      } else {
        part(result.h, {tile.col, tile.col_count, tile.row, tile.row_count}).copy_(below.t());
      }
    });
    if (s.cross.defined()) result.cross = s.cross.mul_(factor);
  }
  state_.reset();  // what was gathered now belongs to the caller
  return result;
}

}  // namespace pare
