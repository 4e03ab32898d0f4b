// Which layers a line of a recipe means.
//
//   model.layers.0.mlp.down_proj     that one
//   *.down_proj                      * stands for any characters, none too
//   re:model\.layers\.[0-3]\.        a regular expression (PCRE2), matched from the start of the name, as compressed-
//                                    tensors and Python's re.match do
#pragma once

#include <memory>
#include <string>

namespace pare {

class NameMatch {
 public:
  explicit NameMatch(const std::string& pattern);  // UsageError when it is no regular expression
  ~NameMatch();
  NameMatch(NameMatch&&) noexcept;
  bool matches(const std::string& name) const;  // UsageError when the expression takes too many steps

 private:
  struct Regex;
  std::string pattern_;
  std::unique_ptr<Regex> regex_;
};

}  // namespace pare
