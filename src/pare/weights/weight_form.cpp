#include "pare/weights/weight_form.h"

#include <algorithm>
#include <bit>
#include <cstdio>

#include "pare/weights/bitpack.h"

namespace pare {

int64_t WeightForm::elements() const {
  int64_t product = 1;
  for (int64_t dim : shape) product *= dim;
  return product;
}

uint64_t WeightForm::bytes() const {
  const int64_t cols = shape.empty() ? 1 : shape.back();
  const int64_t rows = cols == 0 ? 0 : elements() / cols;
  int64_t total = masked ? rows * ((cols + 7) / 8) : 0;
  if (kind == Kind::dense) {
    total += (masked ? kept : elements()) * size_of(dtype);
  } else if (kind == Kind::grouped_ints) {
    const int64_t groups = rows * ((cols + group - 1) / group);
    total += masked ? packed_bytes(kept, bits) : rows * packed_bytes(cols, bits);
    total += groups * size_of(scale_dtype);
    if (!symmetric) total += packed_bytes(groups, bits);
    if (permuted) total += cols * static_cast<int64_t>(sizeof(int32_t));
  } else if (kind == Kind::additive_codes) {
    const int64_t out_groups = rows / out_group;
    total += out_groups * (cols / group) * books * (bits <= 8 ? 1 : 2) + out_groups * size_of(scale_dtype) +
             books * (int64_t{1} << bits) * out_group * group * size_of(dtype);
  } else {
    total += elements() / gguf_type->block_elements * gguf_type->block_bytes;
  }
  return static_cast<uint64_t>(total);
}

std::string WeightForm::describe() const {
  std::string base;
  if (kind == Kind::dense) {
    base = name_of(dtype);
  } else if (kind == Kind::gguf_blocks) {
    base = gguf_type != nullptr ? gguf_type->name : "unknown GGUF blocks";
  } else if (kind == Kind::additive_codes) {
    base = "AQLM, " + std::to_string(books) + " x " + std::to_string(bits) + " bits for " + std::to_string(out_group) +
           " x " + std::to_string(group);
  } else {
    base = ternary ? "ternary" : std::to_string(bits) + "-bit";
    base += !shape.empty() && group >= shape.back() ? ", one group a row" : ", groups of " + std::to_string(group);
    base += symmetric ? ", symmetric" : ", asymmetric";
  }
  if (!masked) return base;
  if (m > 0) return std::to_string(n) + ":" + std::to_string(m) + " of " + base;
  char share[32];
  const double all = static_cast<double>(std::max<int64_t>(elements(), 1));
  std::snprintf(share, sizeof share, "%.1f %% kept of ", 100.0 * static_cast<double>(kept) / all);
  return share + base;
}

WeightForm form_of(const Weight& weight) {
  WeightForm form;
  form.shape = weight.shape;
  if (const auto* dense = std::get_if<Dense>(&weight.base)) {
    form.kind = WeightForm::Kind::dense;
    form.dtype = dense->dtype;
  } else if (const auto* ints = std::get_if<GroupedInts>(&weight.base)) {
    form.kind = WeightForm::Kind::grouped_ints;
    form.bits = ints->bits;
    form.ternary = ints->ternary;
    form.symmetric = ints->symmetric;
    form.group = std::min(ints->group, weight.cols());
    form.scale_dtype = ints->scale_dtype;
    form.permuted = !ints->group_index.empty();
  } else if (const auto* additive = std::get_if<AdditiveCodes>(&weight.base)) {
    form.kind = WeightForm::Kind::additive_codes;
    form.bits = additive->bits;
    form.books = additive->books;
    form.out_group = additive->out_group;
    form.group = additive->in_group;
    form.dtype = additive->book_dtype;
    form.scale_dtype = additive->scale_dtype;
  } else {
    form.kind = WeightForm::Kind::gguf_blocks;
    form.gguf_type = std::get<GgufBlocks>(weight.base).type;
  }
  form.kept = weight.elements();
  if (weight.mask) {
    form.masked = true;
    form.n = weight.mask->n;
    form.m = weight.mask->m;
    form.kept = 0;
    for (uint8_t byte : weight.mask->bits) form.kept += std::popcount(byte);
  }
  return form;
}

std::string module_of(const std::string& parameter) {
  constexpr std::string_view kSuffix = ".weight";
  return parameter.ends_with(kSuffix) ? parameter.substr(0, parameter.size() - kSuffix.size()) : parameter;
}

}  // namespace pare
