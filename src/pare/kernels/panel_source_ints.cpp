// Of grouped integers: 2 to 8 bits on uniform grids, with columns put in the order of their groups where an index says
// so, and masked values as the code that means zero.
#include "pare/kernels/panel_source.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <span>

#include "pare/io/dtype.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/grouped_ints.h"
#include "pare/weights/weight_form.h"

namespace pare {
namespace {

class GroupedIntsSource : public PanelSource {
 public:
  explicit GroupedIntsSource(const Weight& weight) : weight_(weight), ints_(std::get<GroupedInts>(weight.base)) {}

  bool prepare() {
    constexpr cpu::Codes kinds[] = {cpu::Codes::bits2, cpu::Codes::bits3, cpu::Codes::bits4, cpu::Codes::bits5,
                                    cpu::Codes::bits6, cpu::Codes::bits8, cpu::Codes::bits8};
    form.codes_kind = kinds[ints_.bits - 2];
    form.scales_kind = ints_.scale_dtype == Dtype::f16    ? cpu::Scales::f16
                       : ints_.scale_dtype == Dtype::bf16 ? cpu::Scales::bf16
                                                          : cpu::Scales::f32;
    form.zero = ints_.ternary ? 1 : 1 << (ints_.bits - 1);
    form.zeros_stored = !ints_.zeros.empty();
    const int64_t cols = weight_.cols();
    groups_ = groups_in(cols, ints_.group);
    if (groups_ > 1 && ints_.group % cpu::kBlockCols != 0) return false;
    form.group_blocks = groups_ > 1 ? ints_.group / cpu::kBlockCols
                                    : std::max<int64_t>(1, (cols + cpu::kBlockCols - 1) / cpu::kBlockCols);
    if (!ints_.group_index.empty() && !sort_columns()) return false;
    if (weight_.mask && pays_sparse()) form.codes_kind = ints_.bits <= 4 ? cpu::Codes::sparse4 : cpu::Codes::sparse8;
    return true;
  }

  void kept(int64_t row, uint8_t* flags) const override {
    const int64_t cols = weight_.cols();
    for (int64_t c = 0; c < cols; ++c) flags[c] = is_kept(row, order.empty() ? c : order[static_cast<size_t>(c)]);
  }

  void read(int64_t row, const PanelRow& to) const override {
    const auto cols = static_cast<size_t>(weight_.cols());
    const int64_t row_bytes = packed_bytes(weight_.cols(), ints_.bits);
    const auto stored =
        std::span(ints_.codes).subspan(static_cast<size_t>(row * row_bytes), static_cast<size_t>(row_bytes));
    const uint8_t* zeros = form.zeros_stored ? ints_.zeros.data() + row * groups_ : nullptr;
    if (order.empty()) {
      unpack_bits(stored, ints_.bits, std::span(to.codes, cols));
    } else {
      std::vector<uint8_t> codes(cols);
      unpack_bits(stored, ints_.bits, codes);
      for (size_t c = 0; c < cols; ++c) to.codes[c] = codes[static_cast<size_t>(order[c])];
    }
    if (weight_.mask && !cpu::is_sparse(form.codes_kind)) drop_masked(row, zeros, to.codes);
    const int64_t size = size_of(ints_.scale_dtype);
    for (int64_t g = 0; g < groups_; ++g) {
      std::byte scale[4];
      from_float(ints_.scale_dtype, &ints_.scales[static_cast<size_t>(row * groups_ + g)], 1, scale);
      std::memcpy(to.scales + (16 * g + to.lane) * size, scale, static_cast<size_t>(size));
      if (zeros != nullptr) to.zeros[16 * g + to.lane] = zeros[g];
    }
  }

 private:
  // Columns by their group. Fails when a group is not as large as its share of blocks.
  bool sort_columns() {
    const auto cols = static_cast<int64_t>(ints_.group_index.size());
    bool in_order = true;
    for (int64_t c = 0; c < cols && in_order; ++c)
      in_order = ints_.group_index[static_cast<size_t>(c)] == c / ints_.group;
    if (in_order) return true;
    order.resize(static_cast<size_t>(cols));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return ints_.group_index[static_cast<size_t>(a)] < ints_.group_index[static_cast<size_t>(b)];
    });
    for (int64_t c = 0; c < cols; ++c) {
      const auto column = static_cast<size_t>(order[static_cast<size_t>(c)]);
      if (ints_.group_index[column] != c / ints_.group) return false;
    }
    return true;
  }

  // With b bits and a share k kept: 1 + b k bits a weight against b. Zero points of their own would have to be merged
  // a row at a time.
  bool pays_sparse() const {
    if (form.zeros_stored) return false;
    const int64_t total = form_of(weight_).kept;
    const int stored = ints_.bits <= 4 ? 4 : 8;
    return static_cast<double>(weight_.elements() + stored * total) <
           kLargestSparseShare * static_cast<double>(ints_.bits * weight_.elements());
  }

  bool is_kept(int64_t row, int64_t column) const {
    const uint8_t* bits = weight_.mask->bits.data() + row * packed_bytes(weight_.cols(), 1);
    return ((bits[column / 8] >> (column % 8)) & 1) != 0;
  }

  void drop_masked(int64_t row, const uint8_t* zeros, uint8_t* codes) const {
    for (int64_t c = 0; c < weight_.cols(); ++c) {
      if (is_kept(row, order.empty() ? c : order[static_cast<size_t>(c)])) continue;
      codes[c] = static_cast<uint8_t>(zeros != nullptr ? zeros[c / ints_.group] : form.zero);
    }
  }

  const Weight& weight_;
  const GroupedInts& ints_;
  int64_t groups_ = 1;
};

}  // namespace

void PanelSource::kept(int64_t, uint8_t*) const {}

std::unique_ptr<PanelSource> grouped_ints_source(const Weight& weight) {
  auto source = std::make_unique<GroupedIntsSource>(weight);
  if (!source->prepare()) return nullptr;
  return source;
}

std::unique_ptr<PanelSource> panel_source(const Weight& weight) {
  if (std::holds_alternative<GroupedInts>(weight.base)) return grouped_ints_source(weight);
  if (std::holds_alternative<GgufBlocks>(weight.base) && !weight.mask) return gguf_source(weight);
  return nullptr;
}

}  // namespace pare
