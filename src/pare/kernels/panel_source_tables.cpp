// Of GGUF's types whose values are few small integers that no block lists: lattice points (weights/gguf_lattice.h) and
// FP4 (weights/gguf_blocks_fp4.cpp). Their codes become indices of Panels::table, their scales stay as exact as they
// are:
//
//   IQ1_S, IQ2_XXS, IQ3_*   super32, d as it is, sc <= 31, and what the type's formula divides by in `unit`
//   IQ1_M, IQ2_XS, IQ2_S    super16, the same for every 16 columns
//   MXFP4, NVFP4            powers of two in bf16; E4M3 in f16, for every 16 columns
//
// 4.3 to 5 bits a weight, where the file has 1.6 to 4.5: entries of 8 values a code would need a lookup in memory each.
#include <cstring>

#include "pare/kernels/panel_source.h"
#include "pare/weights/gguf_block_codecs.h"
#include "pare/weights/gguf_lattice.h"

namespace pare {
namespace {

constexpr int kZero = 128;

class TableSource : public PanelSource {
 public:
  TableSource(const Weight& weight, const int8_t (&levels)[16], cpu::Scales scales)
      : data_(reinterpret_cast<const uint8_t*>(std::get<GgufBlocks>(weight.base).data.span().data())),
        block_bytes_(std::get<GgufBlocks>(weight.base).type->block_bytes),
        blocks_(weight.cols() / std::get<GgufBlocks>(weight.base).type->block_elements) {
    form.codes_kind = cpu::Codes::table4;
    form.scales_kind = scales;
    form.zero = kZero;
    form.group_blocks = 1;
    for (int i = 0; i < 16; ++i) form.table[i] = static_cast<uint8_t>(levels[i] + kZero);
  }

 protected:
  const uint8_t* row(int64_t r) const { return data_ + r * blocks_ * block_bytes_; }
  int64_t block_bytes() const { return block_bytes_; }
  int64_t blocks() const { return blocks_; }

 private:
  const uint8_t* data_;
  int64_t block_bytes_, blocks_;
};

class LatticeSource : public TableSource {
 public:
  LatticeSource(const Weight& weight, const gguf::LatticeType& type)
      : TableSource(weight, type.levels, type.halves ? cpu::Scales::super16 : cpu::Scales::super32), type_(type) {
    form.unit = type.unit;
    for (int i = 15; i >= 0; --i) index_[static_cast<uint8_t>(type.levels[i])] = static_cast<uint8_t>(i);
  }

  void read(int64_t r, const PanelRow& to) const override {
    gguf::LatticeBlock block;
    const uint8_t* src = row(r);
    const int64_t parts = type_.halves ? 2 : 1;
    for (int64_t b = 0; b < blocks(); ++b, src += block_bytes()) {
      type_.read(src, block);
      uint8_t* codes = to.codes + gguf::kLatticeBlock * b;
      for (int e = 0; e < gguf::kLatticeBlock; ++e) codes[e] = index_[static_cast<uint8_t>(block.values[e])];
      std::memcpy(to.zeros + 32 * b + 2 * to.lane, &block.d, 2);
      for (int64_t j = 0; j < 8 * parts; ++j) {
        to.scales[16 * (8 * parts * b + j) + to.lane] = block.scales[2 * j / parts];
      }
    }
  }

 private:
  const gguf::LatticeType& type_;
  uint8_t index_[256] = {};  // of each level as a byte
};

class Fp4Source : public TableSource {
 public:
  Fp4Source(const Weight& weight, bool nvidia)
      : TableSource(weight, gguf::kFp4Values, nvidia ? cpu::Scales::f16_halves : cpu::Scales::bf16), nvidia_(nvidia) {}

  void read(int64_t r, const PanelRow& to) const override {
    const uint8_t* src = row(r);
    const auto put = [&](int64_t entry, uint16_t scale) {
      std::memcpy(to.scales + 32 * entry + 2 * to.lane, &scale, 2);
    };
    const auto low_then_high = [](const uint8_t* q, int count, uint8_t* codes) {
      for (int i = 0; i < count; ++i) {
        codes[i] = q[i] & 15;
        codes[count + i] = static_cast<uint8_t>(q[i] >> 4);
      }
    };
    for (int64_t b = 0; b < blocks(); ++b, src += block_bytes()) {
      if (!nvidia_) {
        low_then_high(src + 1, 16, to.codes + 32 * b);
        put(b, gguf::half_e8m0_as_bf16(src[0]));
        continue;
      }
      for (int64_t s = 0; s < 4; ++s) {
        low_then_high(src + 4 + 8 * s, 8, to.codes + 64 * b + 16 * s);
        put(4 * b + s, gguf::half_ue4m3_as_f16(src[s]));
      }
    }
  }

 private:
  bool nvidia_;
};

}  // namespace

std::unique_ptr<PanelSource> gguf_table_source(const Weight& weight) {
  const uint32_t id = std::get<GgufBlocks>(weight.base).type->id;
  if (const gguf::LatticeType* type = gguf::lattice_type(id)) return std::make_unique<LatticeSource>(weight, *type);
  if (id == 39 || id == 40) return std::make_unique<Fp4Source>(weight, id == 40);
  return nullptr;
}

}  // namespace pare
