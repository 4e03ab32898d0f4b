// The layouts of quantized and pruned weights from any types, shapes and bytes, and GGUF's blocks from any bytes.
#include <cstdint>
#include <cstring>

#include "pare/base/error.h"
#include "pare/weights/aqlm_layout.h"
#include "pare/weights/awq_layout.h"
#include "pare/weights/bitmask_layout.h"
#include "pare/weights/compressed_tensors_layout.h"
#include "pare/weights/fp8_layout.h"
#include "pare/weights/gguf_blocks.h"
#include "pare/weights/gptq_layout.h"
#include "pare/weights/int8_layout.h"
#include "pare/weights/nf4_layout.h"

namespace {

using namespace pare;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : left_(data, size) {}

  uint8_t byte() {
    if (left_.empty()) return 0;
    const uint8_t value = left_[0];
    left_ = left_.subspan(1);
    return value;
  }
  // Mostly small, since layouts agree by their sizes; now and then any number.
  int64_t number() {
    const uint8_t first = byte();
    if (first < 250) return first;
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | byte();
    return static_cast<int64_t>(value);
  }
  // Its bytes come from the input, zeros after its end; of a large shape too few, which has to be noticed.
  StoredView view(const char* name, Dtype usual) {
    StoredView view{name, usual, {}, {}};
    const uint8_t kind = byte();
    if (kind >= 240) view.dtype = static_cast<Dtype>(kind % 15);
    const int rank = kind % 16 == 15 ? byte() % 4 : usual_rank;
    for (int i = 0; i < rank; ++i) view.shape.push_back(number());
    int64_t bytes = size_of(view.dtype);
    for (int64_t dim : view.shape) {
      bytes = dim < 0 || (dim > 0 && bytes > (1 << 16) / dim) ? 8 : bytes * dim;
    }
    buffers_.emplace_back(static_cast<size_t>(bytes));
    const size_t count = std::min(left_.size(), buffers_.back().size());
    if (count > 0) std::memcpy(buffers_.back().data(), left_.data(), count);
    left_ = left_.subspan(count);
    view.data = buffers_.back();
    return view;
  }
  int usual_rank = 2;

 private:
  std::span<const uint8_t> left_;
  std::vector<std::vector<std::byte>> buffers_;
};

void read_and_use(const Weight& weight, const WeightForm& form) {
  check_weight(weight, "w");
  PARE_ASSERT(weight.shape == form.shape);
  weight.unpack();
}

// Those that need no other scheme than a group. 4: AWQ, 5: FP8, 6: int8, 7: NF4, 8: AQLM.
void use_other_layout(Input& input, int kind, uint8_t flags, int bits, int64_t group) {
  if (kind == 4) {
    const AwqParts parts{input.view("qweight", Dtype::i32), input.view("qzeros", Dtype::i32),
                         input.view("scales", Dtype::f16)};
    const AwqScheme scheme{.bits = bits, .group = group};
    const WeightForm form = awq_form(parts, scheme);
    read_and_use(unpack_awq(parts, scheme), form);
  } else if (kind == 5) {
    const Fp8Parts parts{input.view("weight", Dtype::f8_e4m3), input.view("scale", Dtype::bf16)};
    const std::vector<Fp8Block> blocks{{bits + 1, group < 1 ? 1 : group}};
    const WeightForm form = fp8_form(parts, blocks);
    fp8_words(parts, blocks);
    read_and_use(unpack_fp8(parts, blocks), form);
  } else if (kind == 6) {
    Int8Parts parts{input.view("weight", Dtype::i8), input.view("scale", Dtype::bf16), {}};
    if ((flags & 1) != 0) parts.zero_point = input.view("zero", Dtype::i8);
    const WeightForm form = int8_form(parts, group);
    read_and_use(unpack_int8(parts, group), form);
  } else if (kind == 7) {
    Nf4Parts parts{input.view("weight", Dtype::u8), {}, {}, {}, {}, {}};
    input.usual_rank = 1;
    parts.absmax = input.view("absmax", (flags & 1) != 0 ? Dtype::u8 : Dtype::f32);
    parts.quant_map = input.view("map", Dtype::f32);
    if ((flags & 1) != 0) parts.nested_absmax = input.view("nested", Dtype::f32);
    parts.state = input.view("state", Dtype::u8);
    std::vector<std::byte> map(256 * sizeof(float));
    if ((flags & 2) == 0) parts.nested_quant_map = StoredView{"nested_map", Dtype::f32, {256}, map};
    const WeightForm form = nf4_form(parts);
    nf4_words(parts);
    read_and_use(unpack_nf4(parts), form);
  } else {
    input.usual_rank = 3;
    AqlmParts parts{input.view("codes", (flags & 1) != 0 ? Dtype::i16 : Dtype::i8), {}, {}};
    input.usual_rank = 4;
    parts.codebooks = input.view("codebooks", Dtype::f16);
    parts.scales = input.view("scales", Dtype::f16);
    const AqlmScheme scheme{.bits = (flags & 2) != 0 ? bits : 0};
    const WeightForm form = aqlm_form(parts, scheme);
    read_and_use(unpack_aqlm(parts, scheme), form);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const uint8_t kind = input.byte(), flags = input.byte();
  const int bits = input.byte() % 12;
  const int64_t group = input.byte() - 1;
  try {
    if (kind % 9 > 3) {
      use_other_layout(input, kind % 9, flags, bits, group);
    } else if (kind % 9 == 0) {
      GptqParts parts{
          input.view("qweight", Dtype::i32), input.view("qzeros", Dtype::i32), input.view("scales", Dtype::f16), {}};
      input.usual_rank = 1;
      if ((flags & 1) != 0) parts.g_idx = input.view("g_idx", Dtype::i32);
      const GptqScheme scheme{.bits = bits,
                              .group = group,
                              .symmetric = (flags & 2) != 0,
                              .act_order = (flags & 4) != 0,
                              .version = (flags & 8) != 0 ? GptqVersion::v2 : GptqVersion::v1,
                              .overridden = (flags & 16) != 0};
      const WeightForm form = gptq_form(parts, scheme);
      read_and_use(unpack_gptq(parts, scheme), form);
    } else if (kind % 9 == 1) {
      PackParts parts{input.view("packed", Dtype::i32), input.view("scale", Dtype::bf16), {}, {}, {}};
      if ((flags & 1) != 0) parts.zero_point = input.view("zero", (flags & 2) != 0 ? Dtype::i8 : Dtype::i32);
      input.usual_rank = 1;
      if ((flags & 4) != 0) parts.g_idx = input.view("g_idx", Dtype::i32);
      parts.shape = input.view("shape", Dtype::i64);
      const PackScheme scheme{.bits = bits, .group = group, .symmetric = (flags & 1) == 0};
      const WeightForm form = packed_form(parts, scheme);
      read_and_use(unpack_packed(parts, scheme), form);
    } else if (kind % 9 == 2) {
      BitmaskParts parts{{}, input.view("compressed", Dtype::f16), input.view("bitmask", Dtype::u8), {}};
      if ((flags & 1) != 0) {
        input.usual_rank = 1;
        parts.row_offsets = input.view("offsets", Dtype::i64);
        parts.compressed.shape = {static_cast<int64_t>(parts.compressed.data.size() / 2)};
      }
      parts.shape = input.view("shape", Dtype::i64);
      const WeightForm form = bitmask_form(parts);
      read_and_use(unpack_bitmask(parts), form);
    } else {
      const GgmlType* type = ggml_type(flags);
      if (type == nullptr || !can_decode(*type)) return 0;
      const int64_t blocks = bits % 3 + 1;
      input.usual_rank = 1;
      const StoredView view = input.view("blocks", Dtype::u8);
      const auto rows = static_cast<int64_t>(view.data.size()) / (blocks * type->block_bytes);
      const auto data = view.data.first(static_cast<size_t>(rows * blocks * type->block_bytes));
      const Weight weight{{rows, blocks * type->block_elements}, GgufBlocks{type, Bytes::view(data, nullptr)}, {}};
      check_weight(weight, "w");
      weight.unpack();
    }
  } catch (const Error&) {
  }
  return 0;
}
