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

struct Cost {
  double instructions = 0;  // vector instructions, of the same speed as a dot product each
  double memory_bytes = 0;  // of weights
  double near_bytes = 0;    // activations read again, from wherever a span of them fits
  int64_t span_bytes = 0;
};

Cost cost_of_panels(const cpu::Panels& p, int64_t rows, double bytes, int64_t tokens, const cpu::Variant& how) {
  const double panels = std::ceil(static_cast<double>(rows) / cpu::kPanelRows),
               blocks = panels * static_cast<double>(p.blocks);
  const double halves = cpu::has_halves(p.scales_kind) ? 2 : 1;
  const double scaling = halves * (cpu::has_min(p.scales_kind) || p.zeros_stored ? 7 : 5);
  const double scales = cpu::is_super(p.scales_kind) ? 4 * halves : 3.0 / static_cast<double>(p.group_blocks);
  const double unpacking = unpack_instructions(p.codes_kind) + cpu::stored_bits(p.codes_kind) + scales;
  const int64_t token_bytes = p.blocks * (cpu::kBlockCols + static_cast<int64_t>(sizeof(cpu::BlockFacts)));
  Cost cost;
  const auto count = static_cast<double>(tokens);
  if (tokens == 1 || (how.in_registers && (tokens == 2 || tokens == 4))) {
    // Two panels side by side take x from a register: a load less for each step of the second.
    const double loads = tokens == 1 ? (how.panels == 2 ? 4 : 8) : 8 * count;
    cost.instructions = blocks * (unpacking + 8 * count + 0.5 * loads + scaling * count);
    cost.memory_bytes = bytes;
    cost.span_bytes = tokens * token_bytes;
    cost.near_bytes = panels * count * static_cast<double>(token_bytes);
    return cost;
  }
  const int64_t span = std::max(cpu::kTile, how.span_bytes / (p.blocks * cpu::kBlockCols) / cpu::kTile * cpu::kTile);
  const double spans = std::ceil(count / static_cast<double>(span));
  const double tile = std::min<double>({static_cast<double>(how.tile), 8, count});
  // A tile of fewer tokens than hide a dot product's latency leaves the multiplier waiting.
  const double waiting = tile >= 8 ? 1.0 : tile >= 4 ? 1.1 : 1.6;
  cost.instructions =
      blocks * (spans * (unpacking + 8) + std::ceil(count / tile) * 8 + count * (8 * waiting + scaling));
  cost.memory_bytes = bytes * spans;
  cost.span_bytes = std::min(tokens, span) * token_bytes;
  cost.near_bytes = panels * count * static_cast<double>(token_bytes);
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
  cost.instructions = products / 16 * (spans * spreading + count);
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
  const double computing = std::max(cost.instructions / speed.dots, cost.near_bytes / near);
  const double reading = cost.memory_bytes / speed.memory;
  // While one waits for memory it does not compute, but for what was asked for before: all of it, when the distance
  // covers what arrives within one access.
  constexpr double access_seconds = 150e-9;
  const double covered = std::min(1.0, how.fetch_ahead / (access_seconds * speed.memory / speed.threads));
  return std::max(computing, reading) + (1 - covered) * std::min(computing, reading);
}

}  // namespace pare
