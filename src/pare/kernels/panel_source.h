// What can go into panels: codes, scales and zeros of any row, from each kind of weight.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "pare/kernels/cpu/function_table.h"
#include "pare/weights/weight.h"

namespace pare {

// Sparse forms are taken when they have at most this share of the dense ones' bytes: see docs/results.md.
constexpr double kLargestSparseShare = 0.85;

// Where a row's parts go. Codes a byte each, in panel order, those beyond the last column 0.
struct PanelRow {
  const cpu::Panels& form;
  uint8_t* codes;
  int64_t lane;  // of 16 in the panel
  uint8_t* scales;
  uint8_t* zeros;
};

class PanelSource {
 public:
  virtual ~PanelSource() = default;
  virtual void read(int64_t row, const PanelRow& to) const = 0;  // from several threads at once
  virtual void kept(int64_t row, uint8_t* flags) const;          // of sparse forms: 1 for each column in panel order

  cpu::Panels form;            // without counts and pointers
  std::vector<int32_t> order;  // as PackedPanels::order
};

// Nothing where panels cannot hold it. The weight must outlive the source.
std::unique_ptr<PanelSource> panel_source(const Weight& weight);

// Of its two kinds.
std::unique_ptr<PanelSource> grouped_ints_source(const Weight& weight);
std::unique_ptr<PanelSource> gguf_source(const Weight& weight);
// Of the types whose codes are indices of a table that no block holds.
std::unique_ptr<PanelSource> gguf_table_source(const Weight& weight);

}  // namespace pare
