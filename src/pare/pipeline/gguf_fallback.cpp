#include "pare/pipeline/gguf_fallback.h"

#include <algorithm>

#include "pare/base/error.h"
#include "pare/pipeline/tensor_types.h"
#include "pare/weights/encode/encode_rows.h"
#include "pare/weights/gguf_blocks.h"

namespace pare {
namespace {

constexpr int64_t kSample = 4096, kLeastRows = 4;  // numbers that are rounded to each type
constexpr double kMoreBits = 1.1, kNearlyAsGood = 1.7;

// Of the numbers rounded to a type, each row filled up with zeros to whole blocks: the sum of squares of what is lost.
double error_of(const GgmlType& type, std::span<const float> rows, int64_t cols) {
  const int64_t blocks = (cols + type.block_elements - 1) / type.block_elements, padded = blocks * type.block_elements;
  std::vector<float> row(static_cast<size_t>(padded)), back(row.size());
  std::vector<std::byte> encoded(static_cast<size_t>(blocks * type.block_bytes));
  double error = 0;
  for (size_t first = 0; first < rows.size(); first += static_cast<size_t>(cols)) {
    std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(first), cols, row.begin());
    encode_rows(type, row, padded, {}, encoded);
    decode_blocks(type, encoded, back);
    for (size_t c = 0; c < static_cast<size_t>(cols); ++c) {
      error += static_cast<double>(row[c] - back[c]) * static_cast<double>(row[c] - back[c]);
    }
  }
  return error;
}

std::vector<float> some_rows(const Weight& weight) {
  const int64_t rows = weight.rows(), cols = weight.cols(),
                count = std::min(rows, std::max(kLeastRows, kSample / cols));
  std::vector<float> values(static_cast<size_t>(count * cols));
  for (int64_t i = 0; i < count; ++i) {
    weight.unpack_rows(rows * i / count, 1,
                       std::span(values).subspan(static_cast<size_t>(i * cols), static_cast<size_t>(cols)));
  }
  return values;
}

}  // namespace

void require_blocks_of_32(int64_t cols, const std::string& tensor) {
  if (cols % 32 == 0) return;
  throw UsageError(tensor + ": its rows of " + std::to_string(cols) +
                   " are no multiple of 32, which GGUF's blocks hold. Leave it out (layers: method: none)");
}

const GgmlType& fallback_type(const GgmlType& wanted, std::span<const float> rows, int64_t cols) {
  if (cols % wanted.block_elements == 0) return wanted;
  const double good = kNearlyAsGood * error_of(wanted, rows, cols);
  double most_bits = 0, least = 0;
  const GgmlType* best = nullptr;
  for (const GgmlType* type : types_for_rows(cols)) {  // the smallest first
    const bool larger = best != nullptr && type->bits_per_weight() > most_bits;
    if (larger && least <= good) break;
    const double error = error_of(*type, rows, cols);
    if (best != nullptr && error >= least) continue;
    // with the first that is good enough come those of its own size
    if (best == nullptr || larger)
      most_bits = kMoreBits * std::max(type->bits_per_weight(), best == nullptr ? wanted.bits_per_weight() : 0);
    best = type;
    least = error;
  }
  PARE_ASSERT(best != nullptr);
  return *best;
}

WeightForm GgufFallbacks::form_for(const GgmlType& wanted, const ParameterInfo& parameter) {
  const int64_t cols = parameter.form.shape[1];
  const GgmlType* type = &wanted;
  if (cols % wanted.block_elements != 0) {
    require_blocks_of_32(cols, parameter.name);
    type = &fallback_type(wanted, some_rows(files_.read(parameter.name)), cols);
    ++count_[std::string(wanted.name) + " takes rows in blocks of " + std::to_string(wanted.block_elements) + ", and " +
             std::to_string(cols) + " are no multiple: " + std::string(type->name) + " instead"];
  }
  WeightForm form;
  form.shape = parameter.form.shape;
  form.kind = WeightForm::Kind::gguf_blocks;
  form.gguf_type = type;
  return form;
}

std::vector<std::string> GgufFallbacks::notes() const {
  std::vector<std::string> notes;
  for (const auto& [what, count] : count_) {
    notes.push_back(what + ", in " + std::to_string(count) + (count == 1 ? " tensor" : " tensors"));
  }
  return notes;
}

}  // namespace pare
