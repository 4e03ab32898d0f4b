#include "pare/kernels/cost_model.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "pare/kernels/bandwidth.h"
#include "pare/kernels/functions.h"
#include "pare/kernels/matrix_impl.h"

namespace pare {
namespace {

using cpu::Codes;

// Vector instructions to unpack a block (8 steps) of a panel: loads, shifts, masks. Sparse steps also count their bits
// and move a pointer on which the next step waits.
double unpack_instructions(Codes kind) {
  switch (kind) {
    case Codes::bits2:
      return 16;
    case Codes::bits3:
      return 33;
    case Codes::bits4:
      return 16;
    case Codes::table4:
      return 24;
    case Codes::bits5:
    case Codes::bits6:
      return 38;
    case Codes::bits8:
      return 8;
    case Codes::sparse4:
      return 64;
    case Codes::sparse8:
      return 48;
  }
  return 0;
}

// Instructions in two kinds: dot products, of which one unit of the CPU does one a cycle, and others, which a second
// unit does at the same time.
struct Work {
  double dots = 0, others = 0;
};

struct Cost {
  Work with_reading, after_reading;  // while weights arrive, or from a cache after that
  double memory_bytes = 0;           // of weights
  double near_bytes = 0;             // activations read again, from wherever a span of them fits
  int64_t span_bytes = 0;
};

Cost cost_of_panels(const cpu::Panels& p, int64_t rows, double bytes, int64_t tokens, const cpu::Variant& how) {
  const double panels = std::ceil(static_cast<double>(rows) / cpu::kPanelRows),
               blocks = panels * static_cast<double>(p.blocks);
  const double halves = cpu::has_halves(p.scales_kind) ? 2 : 1;
  const double scaling = halves * (cpu::has_min(p.scales_kind) || p.zeros_stored ? 7 : 5);
  const double scales = cpu::is_super(p.scales_kind) ? 4 * halves : 3 * halves / static_cast<double>(p.group_blocks);
  const double unpacking = unpack_instructions(p.codes_kind);
  const int64_t token_bytes = p.blocks * (cpu::kBlockCols + static_cast<int64_t>(sizeof(cpu::BlockFacts)));
  const auto count = static_cast<double>(tokens);
  Cost cost;
  cost.near_bytes = panels * count * static_cast<double>(token_bytes);
  if (tokens == 1 || (tokens <= cpu::kFewTokens && how.in_registers)) {
    // A tile passes over the codes; the first brings them from memory. Two panels share a token's loads.
    const double passes = std::ceil(count / cpu::kTile), in_first = std::min<double>(count, cpu::kTile);
    const double shared = tokens == 1 && how.panels == 2 ? 4 : 8;
    cost.with_reading = {blocks * 8 * in_first, blocks * (unpacking + scales + shared + scaling * in_first)};
    cost.after_reading = {blocks * 8 * (count - in_first),
                          blocks * ((passes - 1) * unpacking + scaling * (count - in_first))};
    cost.memory_bytes = bytes;
    cost.span_bytes = tokens * token_bytes;
    return cost;
  }
  const int64_t span = std::max(cpu::kTile, how.span_bytes / (p.blocks * cpu::kBlockCols) / cpu::kTile * cpu::kTile);
  const double spans = std::ceil(count / static_cast<double>(span));
  const double tile = std::min<double>({static_cast<double>(how.tile), cpu::kTile, count});
  // A tile of fewer tokens than hide a dot product's latency leaves the multiplier waiting.
  const double waiting = tile >= 8 ? 1.0 : tile >= 4 ? 1.1 : 1.6;
  cost.with_reading = {0, blocks * spans * (unpacking + 8 + scales)};
  cost.after_reading = {blocks * 8 * count * waiting, blocks * (std::ceil(count / tile) * 8 + count * scaling)};
  cost.memory_bytes = bytes * spans;
  cost.span_bytes = std::min(tokens, span) * token_bytes;
  return cost;
}

// Rows of floats, sparse or not: 16 products an instruction, four rows at once.
Cost cost_of_rows(const Matrix& matrix, int64_t tokens, const cpu::Variant& how) {
  const auto products = static_cast<double>(matrix.rows() * matrix.cols()), count = static_cast<double>(tokens);
  const int64_t token_bytes = matrix.cols() * 4;
  const int64_t span = std::max<int64_t>(4, how.span_bytes / token_bytes);
  const double spans = std::ceil(count / static_cast<double>(span));
  Cost cost;
  const double spreading = matrix.impl().sparse ? 5 : 2;  // to load 16 values and make them f32
  cost.with_reading.others = products / 16 * (spans * spreading + count);
  cost.memory_bytes = static_cast<double>(matrix.bytes()) * spans;
  cost.span_bytes = std::min(tokens, span) * token_bytes;
  cost.near_bytes = static_cast<double>(matrix.rows()) / 4 * count * static_cast<double>(token_bytes);
  return cost;
}

int64_t second_level_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  if (const long size = sysconf(_SC_LEVEL2_CACHE_SIZE); size > 0) return size;
#endif
  return 512 << 10;
}

}  // namespace

MachineSpeed measure_machine(ThreadPool& pool) {
  MachineSpeed speed;
  speed.threads = pool.threads();
  speed.near_cache_bytes = second_level_bytes();
  const int64_t last = std::max<int64_t>(last_level_cache_bytes(), 4 * speed.near_cache_bytes);
  speed.last_cache_bytes = last / pool.threads();
  speed.memory = read_bandwidth(pool, std::clamp<int64_t>(2 * last, int64_t{128} << 20, int64_t{512} << 20));
  speed.near_cache = read_bandwidth(pool, speed.near_cache_bytes / 2 * pool.threads());
  speed.last_cache = read_bandwidth(pool, std::min(4 * speed.near_cache_bytes * pool.threads(), last / 2));
  speed.dots = int8_peak(pool) / 64;
  return speed;
}

double predicted_seconds(const Matrix& matrix, int64_t tokens, const cpu::Variant& how, const MachineSpeed& speed) {
  const Matrix::Impl& m = matrix.impl();
  const Cost cost = m.panels
                        ? cost_of_panels(m.panels->panels, m.rows, static_cast<double>(matrix.bytes()), tokens, how)
                        : cost_of_rows(matrix, tokens, how);
  const double near = cost.span_bytes <= speed.near_cache_bytes / 2 ? speed.near_cache
                      : cost.span_bytes <= speed.last_cache_bytes   ? speed.last_cache
                                                                    : speed.memory;
  const auto seconds = [&](const Work& work) {
    return std::max(work.dots, (work.dots + work.others) / 2) / speed.dots;
  };
  const double computing = seconds(cost.with_reading), reading = cost.memory_bytes / speed.memory;
  // While one waits for memory it does not compute, but for what was asked for before: all of it, when the distance
  // covers what arrives within one access.
  constexpr double access_seconds = 150e-9;
  const double covered = std::min(1.0, how.fetch_ahead / (access_seconds * speed.memory / speed.threads));
  const double first = std::max(computing, reading) + (1 - covered) * std::min(computing, reading);
  return std::max(first + seconds(cost.after_reading), cost.near_bytes / near);
}

}  // namespace pare
