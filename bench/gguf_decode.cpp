// Blocks of every GGUF type that Pare writes, decoded to f32 on all processors, beside a plain copy of as many floats:
// what the machine's memory allows. Seconds are medians of rounds; "of copy" is the share of the copy's speed.
//
//   gguf_decode [MEGABYTES of f32 [ROUNDS]]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "pare/base/random.h"
#include "pare/io/ggml_type.h"
#include "pare/weights/encode/encode_rows.h"
#include "pare/weights/gguf_blocks.h"

namespace {

using namespace pare;

constexpr int64_t kColumns = 4096;

double seconds_of(int rounds, int64_t rows, const std::function<void(int64_t, int64_t)>& work) {
  const auto threads = static_cast<int64_t>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<double> seconds;
  for (int round = 0; round < rounds + 1; ++round) {  // the first one touches the pages
    const auto start = std::chrono::steady_clock::now();
    {
      std::vector<std::jthread> workers;
      for (int64_t t = 0; t < threads; ++t) workers.emplace_back(work, rows * t / threads, rows * (t + 1) / threads);
    }
    if (round > 0) seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t megabytes = argc > 1 ? std::atoll(argv[1]) : 256;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  const int64_t rows = std::max<int64_t>(1, megabytes * 1000000 / (kColumns * 4));
  std::vector<float> from(static_cast<size_t>(rows * kColumns), 1.0f), to(from.size());
  const double bytes = static_cast<double>(from.size()) * sizeof(float);
  const double copy = seconds_of(rounds, rows, [&](int64_t first, int64_t last) {
    std::memcpy(to.data() + first * kColumns, from.data() + first * kColumns,
                static_cast<size_t>((last - first) * kColumns) * sizeof(float));
  });
  std::printf("| type | f32 written, GB/s | of copy |\n|---|--:|--:|\n| copy of f32 | %.1f | 1 |\n",
              bytes / copy / 1e9);
  const CounterRandom random(1, "decode");
  std::vector<float> row(kColumns);
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(random.uniform(i)) - 0.5f;
  for (const char* name : {"F16",     "BF16",  "Q4_0",  "Q4_1",   "Q5_0",   "Q5_1",  "Q8_0",    "Q2_K",  "Q3_K",
                           "Q4_K",    "Q5_K",  "Q6_K",  "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS",
                           "IQ2_XXS", "IQ1_M", "IQ1_S", "MXFP4",  "Q2_0",   "TQ1_0", "TQ2_0"}) {
    const GgmlType& type = *ggml_type_named(name);
    const auto row_bytes = static_cast<size_t>(kColumns / type.block_elements * type.block_bytes);
    std::vector<std::byte> one(row_bytes);
    if (can_encode(type)) {
      encode_blocks(type, row, one);
    } else {
      encode_rows(type, row, kColumns, {}, one);
    }
    std::vector<std::byte> blocks(row_bytes * static_cast<size_t>(rows));
    for (int64_t r = 0; r < rows; ++r)
      std::copy(one.begin(), one.end(), blocks.begin() + r * static_cast<int64_t>(row_bytes));
    const double decode = seconds_of(rounds, rows, [&](int64_t first, int64_t last) {
      decode_blocks(
          type,
          std::span(blocks).subspan(static_cast<size_t>(first) * row_bytes,
                                    static_cast<size_t>(last - first) * row_bytes),
          std::span(to).subspan(static_cast<size_t>(first * kColumns), static_cast<size_t>((last - first) * kColumns)));
    });
    std::printf("| %s | %.1f | %.2f |\n", name, bytes / decode / 1e9, copy / decode);
  }
  return 0;
}
