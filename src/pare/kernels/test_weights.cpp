#include "pare/kernels/test_weights.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <sstream>

#include "pare/base/error.h"
#include "pare/base/float_types.h"
#include "pare/base/random.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/grouped_ints.h"

namespace pare {
namespace {

std::vector<std::string> words_of(const std::string& kind) {
  std::vector<std::string> words;
  std::istringstream stream(kind);
  for (std::string word; std::getline(stream, word, '-');) words.push_back(word);
  if (words.empty()) words.emplace_back();
  return words;
}

// "mask": a half is kept, anywhere; "2of4": two of every four neighbours (of the last, what there are).
std::optional<Mask> random_mask(const std::vector<std::string>& words, int64_t rows, int64_t cols,
                                const CounterRandom& random) {
  const std::string& word = words.back();
  if (word != "mask" && word != "2of4") return {};
  Mask mask;
  mask.bits.assign(static_cast<size_t>(rows * packed_bytes(cols, 1)), 0);
  uint64_t counter = uint64_t{1} << 41;
  for (int64_t r = 0; r < rows; ++r) {
    uint8_t* bits = mask.bits.data() + r * packed_bytes(cols, 1);
    for (int64_t c = 0; c < cols; ++c) {
      if (word == "mask") {
        bits[c / 8] |= static_cast<uint8_t>((random.bits(counter++) & 1) << (c % 8));
      } else if (c % 4 == 0) {
        constexpr uint8_t pairs[] = {3, 5, 6, 9, 10, 12};
        bits[c / 8] |= static_cast<uint8_t>(pairs[random.bits(counter++) % 6] << (c % 8));
      }
    }
  }
  return mask;
}

Weight random_ints(const std::vector<std::string>& words, int64_t rows, int64_t cols, const CounterRandom& random) {
  GroupedInts ints;
  ints.ternary = words[0] == "ternary";
  ints.bits = ints.ternary ? 2 : words[0].back() - '0';
  bool zeros = false, index = false;
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i][0] == 'g') ints.group = std::stoll(words[i].substr(1));
    if (words[i] == "row") ints.group = cols;
    if (words[i] == "bf16") ints.scale_dtype = Dtype::bf16;
    if (words[i] == "f32") ints.scale_dtype = Dtype::f32;
    zeros |= words[i] == "zeros";
    index |= words[i] == "index";
  }
  ints.symmetric = !zeros;
  const int64_t groups = groups_in(cols, ints.group), row_bytes = packed_bytes(cols, ints.bits);
  const uint32_t highest = ints.ternary ? 2 : (1u << ints.bits) - 1;
  ints.codes.resize(static_cast<size_t>(rows * row_bytes));
  std::vector<uint8_t> codes(static_cast<size_t>(cols));
  uint64_t counter = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random.bits(counter++) % (highest + 1));
    pack_bits(codes, ints.bits,
              std::span(ints.codes).subspan(static_cast<size_t>(r * row_bytes), static_cast<size_t>(row_bytes)));
  }
  for (int64_t i = 0; i < rows * groups; ++i) {
    const float wish = static_cast<float>(random.uniform(counter++)) * 0.1f;
    std::byte stored[4];
    float scale = 0;
    from_float(ints.scale_dtype, &wish, 1, stored);
    to_float(ints.scale_dtype, stored, 1, &scale);
    ints.scales.push_back(scale);
    if (zeros) ints.zeros.push_back(static_cast<uint8_t>(random.bits(counter++) % (highest + 1)));
  }
  if (index) {
    for (int64_t c = 0; c < cols; ++c) ints.group_index.push_back(static_cast<int32_t>(c / ints.group));
    for (size_t c = ints.group_index.size(); c > 1; --c)
      std::swap(ints.group_index[c - 1], ints.group_index[random.bits(counter++) % c]);
  }
  return {{rows, cols}, std::move(ints), random_mask(words, rows, cols, random)};
}

// Any bytes are codes; only the f16 scales must be finite, and of a size that sums do not drown in.
Weight random_blocks(const GgmlType& type, int64_t rows, int64_t cols, const CounterRandom& random) {
  const int64_t count = rows * (cols / type.block_elements);
  std::vector<std::byte> data(static_cast<size_t>(count * type.block_bytes));
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(random.bits(i));
  const auto halves = [&]() -> std::vector<int64_t> {
    switch (type.id) {
      case 3:
      case 7:
      case 12:
      case 13:
        return {0, 2};
      case 10:
        return {80, 82};
      case 11:
        return {108};
      case 14:
        return {208};
      case 34:
        return {52};
      case 35:
        return {64};
      case 29:
      case 39:
      case 40:
        return {};
      default:
        return {0};
    }
  }();
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t at : halves) {
      const float scale =
          static_cast<float>(random.uniform((uint64_t{1} << 40) + static_cast<uint64_t>(4 * i + at % 4)) - 0.3) * 0.01f;
      const uint16_t bits = float_to_f16(scale);
      std::memcpy(data.data() + i * type.block_bytes + at, &bits, 2);
    }
    std::byte* block = data.data() + i * type.block_bytes;
    if (type.id == 39) block[0] = static_cast<std::byte>(112 + (std::to_integer<int>(block[0]) & 7));  // 2^-16 and up
    if (type.id == 29) {  // the scale's top nibble: 2^-11 to 2^-7, of either sign
      block[55] = (block[55] & std::byte{0x8f}) | std::byte{0x10};
    }
  }
  return {{rows, cols}, GgufBlocks{&type, Bytes(std::move(data))}, {}};
}

// Of names that users type, too.
void check_kind(const std::string& kind, const std::vector<std::string>& words) {
  const bool dense = words[0] == "F16" || words[0] == "BF16" || words[0] == "F32";
  bool good = dense || words[0] == "ternary" ||
              (words[0].size() == 4 && words[0].starts_with("int") && words[0][3] >= '2' && words[0][3] <= '8') ||
              (words.size() == 1 && ggml_type_named(kind) != nullptr);
  for (size_t i = 1; i < words.size() && good; ++i) {
    const std::string& word = words[i];
    const bool mask = word == "mask" || word == "2of4";
    if (mask) {
      good = i + 1 == words.size();
    } else {
      const std::string digits = word.empty() ? "" : word.substr(1);
      const bool group = word.starts_with('g') && !digits.empty() && digits.size() < 7 && digits[0] != '0' &&
                         digits.find_first_not_of("0123456789") == std::string::npos;
      good =
          !dense && (group || word == "row" || word == "bf16" || word == "f32" || word == "zeros" || word == "index");
    }
  }
  if (!good) {
    throw UsageError(
        "'" + kind +
        "' is no kind of weight: expected a GGUF type (Q4_K), F16, BF16 or F32, or int2 to int8 or ternary, "
        "with -g64 or -row, -zeros, -bf16 or -f32 and, last, -mask or -2of4 (int4-g64-zeros, F16-mask)");
  }
}

}  // namespace

Weight random_weight(const std::string& kind, int64_t rows, int64_t cols, uint64_t seed) {
  const CounterRandom random(seed, kind);
  const std::vector<std::string> words = words_of(kind);
  check_kind(kind, words);
  if (words[0].starts_with("int") || words[0] == "ternary") return random_ints(words, rows, cols, random);
  if (words[0] == "F16" || words[0] == "BF16" || words[0] == "F32") {
    std::vector<float> values(static_cast<size_t>(rows * cols));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random.uniform(i)) - 0.5f;
    const Dtype dtype = words[0] == "F16" ? Dtype::f16 : words[0] == "BF16" ? Dtype::bf16 : Dtype::f32;
    Weight weight = dense_weight({rows, cols}, dtype, values);
    weight.mask = random_mask(words, rows, cols, random);
    return weight;
  }
  const GgmlType* type = ggml_type_named(kind);
  PARE_ASSERT(type != nullptr);
  return random_blocks(*type, rows, cols, random);
}

const std::vector<std::string>& weight_kinds() {
  static const std::vector<std::string> kinds{"int2-g32",
                                              "int2-g64-zeros",
                                              "int3",
                                              "int3-g32-zeros",
                                              "int4-g32",
                                              "int4-g64-bf16",
                                              "int4",
                                              "int4-g128-zeros",
                                              "int4-row",
                                              "int4-g32-index",
                                              "int4-g64-mask",
                                              "int8-g64-mask",
                                              "int3-mask",
                                              "int4-g64-2of4",
                                              "int4-g64-zeros-mask",
                                              "int5-g64",
                                              "int5-g32-zeros-f32",
                                              "int6-g32",
                                              "int6-row-zeros",
                                              "int7-g64",
                                              "int8",
                                              "int8-row-f32",
                                              "int8-g32-zeros",
                                              "ternary-g64",
                                              "int4-g48",
                                              "Q4_0",
                                              "Q4_1",
                                              "Q5_0",
                                              "Q5_1",
                                              "Q8_0",
                                              "IQ4_NL",
                                              "Q2_K",
                                              "Q3_K",
                                              "Q4_K",
                                              "Q5_K",
                                              "Q6_K",
                                              "IQ4_XS",
                                              "IQ1_S",
                                              "IQ1_M",
                                              "IQ2_XXS",
                                              "IQ2_XS",
                                              "IQ2_S",
                                              "IQ3_XXS",
                                              "IQ3_S",
                                              "TQ1_0",
                                              "TQ2_0",
                                              "MXFP4",
                                              "NVFP4",
                                              "Q1_0",
                                              "Q2_0",
                                              "F16",
                                              "BF16",
                                              "F32",
                                              "F16-mask",
                                              "BF16-2of4",
                                              "F32-mask"};
  return kinds;
}

int64_t column_multiple(const std::string& kind) {
  const GgmlType* type = ggml_type_named(kind);
  if (kind.find("index") != std::string::npos) return 32;
  return type != nullptr ? type->block_elements : 1;
}

}  // namespace pare
