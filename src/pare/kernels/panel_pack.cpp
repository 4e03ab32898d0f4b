#include "pare/kernels/panel_pack.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "pare/base/error.h"
#include "pare/kernels/panel_source.h"

namespace pare {
namespace {

using cpu::Codes;
using cpu::kBlockCols;
using cpu::kPanelRows;
using cpu::Panels;

// The 4 codes of a row and step, as one word.
uint32_t word_at(const uint8_t* codes, int64_t step) {
  uint32_t word;
  std::memcpy(&word, codes + 4 * step, 4);
  return word;
}

// A row's block into its panel: every word of a plane is put together from the steps that it holds, and written once.
void put_block(Codes kind, const uint8_t* codes, int64_t row, uint8_t* dst) {
  uint32_t* words = reinterpret_cast<uint32_t*>(dst) + row;
  uint32_t step[8];
  for (int64_t s = 0; s < 8; ++s) step[s] = word_at(codes, s);
  const auto plane4 = [&](uint32_t* at) {
    for (int64_t s = 0; s < 4; ++s) at[16 * s] = (step[s] & 0x0f0f0f0fu) | (step[s + 4] & 0x0f0f0f0fu) << 4;
  };
  const auto plane2 = [&](uint32_t* at, int from) {
    for (int64_t s = 0; s < 2; ++s) {
      uint32_t word = 0;
      for (int64_t i = 0; i < 4; ++i) word |= ((step[s + 2 * i] >> from) & 0x03030303u) << (2 * i);
      at[16 * s] = word;
    }
  };
  const auto plane1 = [&](uint32_t* at, int from) {
    uint32_t word = 0;
    for (int64_t s = 0; s < 8; ++s) word |= ((step[s] >> from) & 0x01010101u) << s;
    *at = word;
  };
  switch (kind) {
    case Codes::bits2:
      return plane2(words, 0);
    case Codes::bits3:
      plane2(words, 0);
      return plane1(words + 32, 2);
    case Codes::bits4:
    case Codes::table4:
      return plane4(words);
    case Codes::bits5:
      plane4(words);
      return plane1(words + 64, 4);
    case Codes::bits6:
      plane4(words);
      return plane2(words + 64, 4);
    case Codes::bits8:
      for (int64_t s = 0; s < 8; ++s) words[16 * s] = step[s];
      return;
    case Codes::sparse4:
    case Codes::sparse8:
      break;  // put_sparse
  }
}

// A whole panel's kept codes in the order of steps. codes and kept (a flag a byte): [16][32 blocks].
void put_sparse(const Panels& p, const uint8_t* codes, const uint8_t* kept, uint8_t* masks, std::vector<uint8_t>& out) {
  const int64_t cols = p.blocks * kBlockCols;
  for (int64_t step = 0; step < p.blocks * 8; ++step) {
    uint64_t mask = 0;
    int count = 0;
    for (int64_t i = 0; i < 64; ++i) {
      const int64_t at = (i / 4) * cols + 4 * step + i % 4;
      if (kept[at] == 0) continue;
      mask |= uint64_t{1} << i;
      if (p.codes_kind == Codes::sparse8 || count % 2 == 0) {
        out.push_back(codes[at]);
      } else {
        out.back() = static_cast<uint8_t>(out.back() | (codes[at] << 4));
      }
      ++count;
    }
    std::memcpy(masks + 8 * step, &mask, 8);
  }
}

void join_streams(const std::vector<std::vector<uint8_t>>& streams, PackedPanels& packed) {
  packed.kept_start.push_back(0);
  for (const auto& stream : streams)
    packed.kept_start.push_back(packed.kept_start.back() + static_cast<int64_t>(stream.size()));
  packed.kept = AlignedBuffer(packed.kept_start.back() + 64);
  for (size_t i = 0; i < streams.size(); ++i) {
    std::copy(streams[i].begin(), streams[i].end(), packed.kept.data() + packed.kept_start[i]);
  }
  packed.panels.kept = packed.kept.data();
  packed.panels.kept_start = packed.kept_start.data();
}

}  // namespace

std::optional<PackedPanels> pack_panels(const Weight& weight, ThreadPool& pool) {
  const std::unique_ptr<PanelSource> source = panel_source(weight);
  if (source == nullptr) return std::nullopt;
  PackedPanels packed;
  Panels& p = packed.panels;
  p = source->form;
  packed.order = source->order;
  const int64_t rows = weight.rows(), cols = weight.cols(), count = (rows + kPanelRows - 1) / kPanelRows;
  p.blocks = (cols + kBlockCols - 1) / kBlockCols;
  p.groups = (p.blocks + p.group_blocks - 1) / p.group_blocks;
  const int64_t code_bytes = cpu::panel_code_bytes(p), scale_bytes = cpu::panel_scale_bytes(p),
                zero_bytes = cpu::panel_zero_bytes(p);
  const auto aligned = [](int64_t bytes) { return (bytes + 63) / 64 * 64; };
  const int64_t scales_at = aligned(count * code_bytes), zeros_at = scales_at + aligned(count * scale_bytes);
  packed.memory = AlignedBuffer(zeros_at + aligned(count * zero_bytes) + 64);
  uint8_t* memory = packed.memory.data();
  p.codes = memory;
  p.scales = memory + scales_at;
  p.zeros = memory + zeros_at;
  const int64_t block_bytes = cpu::kStepBytes * cpu::stored_bits(p.codes_kind), padded = p.blocks * kBlockCols;
  const bool sparse = cpu::is_sparse(p.codes_kind);
  std::vector<std::vector<uint8_t>> streams(sparse ? static_cast<size_t>(count) : 0);
  pool.run([&](int thread, int threads) {
    const auto [first, last] = ThreadPool::share_of(count, thread, threads);
    std::vector<uint8_t> codes(static_cast<size_t>(padded * (sparse ? kPanelRows : 1))),
        kept(sparse ? codes.size() : 0);
    for (int64_t panel = first; panel < last; ++panel) {
      std::fill(kept.begin(), kept.end(), uint8_t{0});
      for (int64_t r = 0; r < std::min(kPanelRows, rows - panel * kPanelRows); ++r) {
        if (sparse) {
          source->read(panel * kPanelRows + r,
                       {p, codes.data() + r * padded, r, memory + scales_at + panel * scale_bytes, nullptr});
          source->kept(panel * kPanelRows + r, kept.data() + r * padded);
          continue;
        }
        const PanelRow row{p, codes.data(), r, memory + scales_at + panel * scale_bytes,
                           memory + zeros_at + panel * zero_bytes};
        source->read(panel * kPanelRows + r, row);
        for (int64_t b = 0; b < p.blocks; ++b) {
          put_block(p.codes_kind, codes.data() + b * kBlockCols, r, memory + panel * code_bytes + b * block_bytes);
        }
      }
      if (sparse) {
        put_sparse(p, codes.data(), kept.data(), memory + panel * code_bytes, streams[static_cast<size_t>(panel)]);
      }
    }
  });
  if (sparse) join_streams(streams, packed);
  return packed;
}

}  // namespace pare
