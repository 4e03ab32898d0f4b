#include "pare/kernels/tune.h"

#include <algorithm>
#include <chrono>

#include "pare/base/resources.h"
#include "pare/kernels/bandwidth.h"
#include "pare/kernels/matrix_impl.h"

namespace pare {
namespace {

constexpr int64_t kTokensOf[] = {1, 8, 256};  // that stand for a class

double median(std::vector<double> times) {
  std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

double one_call(const Matrix& matrix, const Activations& x, std::vector<float>& y, ThreadPool& pool) {
  const auto start = std::chrono::steady_clock::now();
  multiply(matrix, x, y.data(), matrix.rows(), pool);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<cpu::Variant> variants_of(const Matrix& matrix, TokenClass tokens) {
  std::vector<cpu::Variant> list;
  const bool panels = matrix.impl().panels.has_value(), rows = !panels && !matrix.impl().sparse;
  const std::vector<int32_t> distances =
      rows ? std::vector<int32_t>{4096} : std::vector<int32_t>{0, 1024, 2048, 4096, 8192};
  for (int32_t ahead : distances) {
    cpu::Variant v;
    v.fetch_ahead = ahead;
    switch (tokens) {
      case TokenClass::one:
        for (int32_t side_by_side : {1, 2}) {
          if (side_by_side == 1 && !panels) continue;  // nothing to choose: as built in
          v.panels = side_by_side;
          list.push_back(v);
        }
        break;
      case TokenClass::few:
        for (bool in_registers : {true, false}) {
          if (!in_registers && !panels) continue;
          v.in_registers = in_registers;
          list.push_back(v);
        }
        break;
      case TokenClass::many:
        if (ahead != 0 && ahead != 4096) continue;  // a panel is read once for many tokens: the distance hardly counts
        for (int32_t tile : {4, 8}) {
          if (tile == 4 && !panels) continue;
          for (int64_t span : {int64_t{1} << 18, int64_t{1} << 20, int64_t{1} << 22}) {
            v.tile = tile;
            v.span_bytes = span;
            list.push_back(v);
          }
        }
    }
  }
  return list;
}

// Turns among the trials, so that whatever else the machine does strikes all of them alike.
void measure(std::vector<Matrix>& copies, std::vector<Trial*>& trials, const Activations& x, std::vector<float>& y,
             double seconds, ThreadPool& pool) {
  std::vector<std::vector<double>> times(trials.size());
  double total = 0;
  size_t next = 0;
  for (int round = 0; round < 3 || total < seconds; ++round) {
    for (size_t i = 0; i < trials.size(); ++i) {
      Matrix& matrix = copies[next++ % copies.size()];
      Variants variants;
      variants.of_class.fill(trials[i]->how);
      matrix.set_variants(variants);
      const double time = one_call(matrix, x, y, pool);
      if (round > 0) times[i].push_back(time);  // the first time round, pages and predictors are cold
      total += time;
    }
  }
  for (size_t i = 0; i < trials.size(); ++i) trials[i]->measured = median(times[i]);
}

}  // namespace

std::vector<Trial> tune(std::vector<Matrix>& copies, const MachineSpeed& speed, const TuneOptions& options,
                        ThreadPool& pool) {
  const Matrix& matrix = copies.front();
  std::vector<Trial> all;
  Variants winners;
  for (int64_t tokens : kTokensOf) {
    const TokenClass of = token_class(tokens);
    std::vector<Trial> trials;
    for (const cpu::Variant& how : variants_of(matrix, of)) {
      trials.push_back({tokens, how, predicted_seconds(matrix, tokens, how, speed), 0, how == cpu::Variant{}, false});
    }
    std::stable_sort(trials.begin(), trials.end(),
                     [](const Trial& a, const Trial& b) { return a.predicted < b.predicted; });
    std::vector<Trial*> tried;
    for (Trial& trial : trials) {
      const bool promising = options.best == 0 || static_cast<int>(tried.size()) < options.best;
      if (promising || trial.built_in) tried.push_back(&trial);
    }
    std::vector<float> values(static_cast<size_t>(tokens * matrix.cols())),
        y(static_cast<size_t>(tokens * matrix.rows()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) - 8.0f;
    Activations x(matrix.cols(), Precision::int8);
    x.assign(values.data(), tokens, matrix.cols(), pool);
    measure(copies, tried, x, y, options.seconds, pool);
    const auto faster = [](const Trial* a, const Trial* b) { return a->measured < b->measured; };
    Trial* best = *std::min_element(tried.begin(), tried.end(), faster);
    // What is built in stays unless another is clearly better: within 2 % it is chance.
    for (Trial* trial : tried) {
      if (trial->built_in && trial->measured < 1.02 * best->measured) best = trial;
    }
    best->taken = true;
    winners.of_class[static_cast<size_t>(of)] = best->how;
    all.insert(all.end(), trials.begin(), trials.end());
  }
  for (Matrix& copy : copies) copy.set_variants(winners);
  return all;
}

double time_product(const std::vector<Matrix>& copies, const Activations& x, std::vector<float>& y, double seconds,
                    ThreadPool& pool) {
  std::vector<double> times;
  double total = 0;
  for (size_t i = 0; total < seconds || times.size() < 5; ++i) {
    times.push_back(one_call(copies[i % copies.size()], x, y, pool));
    total += times.back();
  }
  return median(times);
}

int64_t bytes_beyond_cache() {
  return std::min<int64_t>(
      std::max<int64_t>(int64_t{64} << 20, std::min<int64_t>(2 * last_level_cache_bytes(), int64_t{1} << 30)),
      static_cast<int64_t>(available_memory_bytes() / 4));
}

std::vector<Matrix> copies_beyond_cache(const Weight& weight, const TuningTable* tuning, ThreadPool& pool) {
  std::vector<Matrix> copies{Matrix::prepare(weight, pool, tuning)};
  const auto count = std::clamp<int64_t>(bytes_beyond_cache() / static_cast<int64_t>(copies[0].bytes()), 1, 256);
  while (static_cast<int64_t>(copies.size()) < count) copies.push_back(Matrix::prepare(weight, pool, tuning));
  return copies;
}

}  // namespace pare
