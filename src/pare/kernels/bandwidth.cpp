#include "pare/kernels/bandwidth.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "pare/kernels/aligned_buffer.h"
#include "pare/kernels/functions.h"

namespace pare {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double read_bandwidth(ThreadPool& pool, int64_t bytes) {
  constexpr int64_t piece = 4096;
  const int64_t pieces = std::max<int64_t>(1, bytes / piece);
  AlignedBuffer buffer(pieces * piece);
  // Written by the thread that will read it, so that the pages lie near it.
  pool.for_each(pieces, [&](int64_t i) { std::fill_n(buffer.data() + i * piece, piece, static_cast<uint8_t>(i)); });
  const cpu::FunctionTable& functions = functions_of(current_isa());
  std::atomic<uint64_t> kept = 0;  // so that the sums are needed
  double best = 0;
  const int64_t passes =
      std::max<int64_t>(1, (int64_t{256} << 20) / (pieces * piece));  // a pass is long enough to time
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t pass = 0; pass < passes; ++pass) {
      pool.run([&](int thread, int threads) {
        const auto [first, last] = ThreadPool::share_of(pieces, thread, threads);
        kept += functions.read(buffer.data() + first * piece, (last - first) * piece);
      });
    }
    best = std::max(best, static_cast<double>(passes * pieces * piece) / seconds_since(start));
  }
  return best;
}

double int8_peak(ThreadPool& pool) {
  const cpu::FunctionTable& functions = functions_of(current_isa());
  std::atomic<int64_t> kept = 0;
  constexpr int64_t rounds = 200000;
  double best = 0;
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    pool.run([&](int, int) { kept += functions.dots(rounds); });
    best = std::max(best, static_cast<double>(rounds * cpu::kDots * 64 * pool.threads()) / seconds_since(start));
  }
  return best;
}

int64_t last_level_cache_bytes() {
#if defined(_SC_LEVEL3_CACHE_SIZE)
  for (int level : {_SC_LEVEL4_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL2_CACHE_SIZE}) {
    const long size = sysconf(level);
    if (size > 0) return size;
  }
#endif
  return 0;
}

}  // namespace pare
