#include "pare/text/replace.h"

#include <nlohmann/json.hpp>

namespace pare {

Replace::Replace(const JsonPart& part) {
  part.only_keys({"pattern", "content"});
  const JsonPattern pattern = read_pattern(part.part("pattern"));
  if (pattern.regex) {
    regex_ = Regex::oniguruma(pattern.text, part.where);
  } else {
    literal_ = pattern.text;
  }
  content_ = part.text("content");
}

std::string Replace::apply(std::string_view text, bool* at_start) const {
  std::string result;
  result.reserve(text.size());
  if (at_start != nullptr) *at_start = false;
  for (const Cut& cut : regex_ ? cut_by_regex(text, *regex_) : cut_by_text(text, literal_)) {
    if (!cut.match) {
      result.append(text, cut.range.begin, cut.range.end - cut.range.begin);
      continue;
    }
    result += content_;
    if (at_start != nullptr && cut.range.begin == 0 && cut.range.end > 0 && content_.empty()) *at_start = true;
  }
  return result;
}

}  // namespace pare
