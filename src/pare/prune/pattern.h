// Which weights may be removed: a share of all, or n of every m consecutive inputs kept.
#pragma once

#include <string>
#include <string_view>

namespace pare {

struct Pattern {
  double sparsity = 0.5;  // share of zeros; of an n:m pattern 1 - n/m
  int n = 0, m = 0;       // n of m kept; 0, 0: unstructured
  bool structured() const { return m > 0; }

  // "0.5", "50%", "2:4", "4:8". UsageError otherwise.
  static Pattern parse(std::string_view text);
  std::string text() const;
};

}  // namespace pare
