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
    total += rows * packed_bytes(cols, bits) + groups * size_of(scale_dtype);
    if (!symmetric) total += packed_bytes(groups, bits);
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
