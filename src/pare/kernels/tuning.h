// Which variant of a kernel each product takes on this machine: found by `pare tune`, remembered in a file that may be
// thrown away at any time. Results never depend on it.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <tuple>

#include "pare/kernels/cpu/function_table.h"

namespace pare {

enum class TokenClass { one, few, many };  // 1 token, 2 to 16, more
inline TokenClass token_class(int64_t tokens) {
  return tokens == 1 ? TokenClass::one : tokens <= cpu::kFewTokens ? TokenClass::few : TokenClass::many;
}

struct Variants {
  std::array<cpu::Variant, 3> of_class;
  const cpu::Variant& of(int64_t tokens) const { return of_class[static_cast<size_t>(token_class(tokens))]; }
  bool operator==(const Variants&) const = default;
};

struct ProductKey {
  std::string layout;  // Matrix::layout()
  int64_t rows = 0, cols = 0;
  int threads = 1;
  bool operator<(const ProductKey& other) const {
    return std::tie(layout, rows, cols, threads) < std::tie(other.layout, other.rows, other.cols, other.threads);
  }
};

class TuningTable {
 public:
  // cache_folder() / "tuning.json"
  static std::filesystem::path usual_file();
  // Of this CPU, instruction set and version of Pare; empty where there is none. A file that is damaged or of another
  // machine counts as none; the first is said.
  static TuningTable load(const std::filesystem::path& file = usual_file());

  Variants find(const ProductKey& key) const;  // as built in, where nothing was measured
  void set(const ProductKey& key, const Variants& variants) { entries_[key] = variants; }
  size_t size() const { return entries_.size(); }
  void save(const std::filesystem::path& file = usual_file()) const;  // ResourceError where it cannot be written

 private:
  std::map<ProductKey, Variants> entries_;
};

}  // namespace pare
