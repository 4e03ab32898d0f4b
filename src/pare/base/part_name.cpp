#include "pare/base/part_name.h"

#include <charconv>
#include <cstdio>

namespace pare {
namespace {

constexpr size_t kDigits = 5;

std::optional<int64_t> five_digits(std::string_view text) {
  int64_t value = 0;
  if (text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

std::optional<PartName> part_name(std::string_view stem) {
  constexpr std::string_view kOf = "-of-";
  constexpr size_t kTail = 1 + kDigits + kOf.size() + kDigits;
  if (stem.size() <= kTail) return std::nullopt;
  const std::string_view tail = stem.substr(stem.size() - kTail);
  const auto number = five_digits(tail.substr(1, kDigits)), count = five_digits(tail.substr(kTail - kDigits));
  if (tail[0] != '-' || tail.substr(1 + kDigits, kOf.size()) != kOf || !number || !count) return std::nullopt;
  if (*number < 1 || *number > *count) return std::nullopt;
  return PartName{std::string(stem.substr(0, stem.size() - kTail)), *number, *count};
}

std::string part_stem(const std::string& name, int64_t number, int64_t count) {
  char tail[64];
  std::snprintf(tail, sizeof tail, "-%05lld-of-%05lld", static_cast<long long>(number), static_cast<long long>(count));
  return name + tail;
}

std::filesystem::path without_part(const std::filesystem::path& file) {
  const std::string stem = file.stem().string();
  const auto part = part_name(stem);
  return file.parent_path() / (part ? part->name : stem);
}

std::filesystem::path first_part(const std::filesystem::path& file) {
  const auto part = part_name(file.stem().string());
  if (!part || part->number == 1) return file;
  return file.parent_path() / (part_stem(part->name, 1, part->count) + file.extension().string());
}

}  // namespace pare
