#include "pare/text/pre_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/text/byte_level.h"
#include "pare/text/unicode.h"

namespace pare {

PreTokenizer::PreTokenizer(const JsonPart& part) {
  if (part.json.is_null()) return;
  for_each_step(part, "pretokenizers", [&](const JsonPart& step) { steps_.push_back(read_step(step)); });
}

PreTokenizer::Behavior PreTokenizer::read_behavior(const JsonPart& part) {
  const std::string name = part.text("behavior");
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  throw UnsupportedError(part.where + ": behavior \"" + name +
                         "\" is not known; known: Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

PreTokenizer::Step PreTokenizer::read_step(const JsonPart& part) {
  const std::string type = part.type();
  if (type == "ByteLevel") {
    part.only_keys({"add_prefix_space", "trim_offsets", "use_regex"});
    ByteLevel step{part.flag("add_prefix_space"), std::nullopt};
    if (part.flag("use_regex", true)) step.regex = Regex::oniguruma(kGpt2Pattern, part.where);
    return step;
  }
  if (type == "Split") {
    part.only_keys({"pattern", "behavior", "invert"});
    const JsonPattern pattern = read_pattern(part.part("pattern"));
    Split step{pattern.text, std::nullopt, read_behavior(part), part.flag("invert")};
    if (pattern.regex) step.regex = Regex::oniguruma(pattern.text, part.where);
    return step;
  }
  if (type == "Digits") {
    part.only_keys({"individual_digits"});
    const Behavior behavior = part.flag("individual_digits") ? Behavior::isolated : Behavior::contiguous;
    return Split{"", Regex::pcre(rust_numeric_class(), part.where), behavior, false};
  }
  if (type == "Metaspace") {
    part.only_keys({"replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
    Metaspace step{part.text("replacement"), PrependScheme::always, part.flag("split", true)};
    size_t end = 0;
    if (!step.replacement.empty()) next_code_point(step.replacement, end);
    if (end == 0 || end != step.replacement.size()) {
      throw InputError(part.where + ": replacement: expected one character, found \"" + step.replacement + "\"");
    }
    const std::string scheme =
        part.text_or_null("prepend_scheme").value_or(part.flag("add_prefix_space", true) ? "always" : "never");
    if (scheme != "first" && scheme != "never" && scheme != "always") {
      throw UnsupportedError(part.where + ": prepend_scheme \"" + scheme +
                             "\" is not known; known: first, never, always");
    }
    step.prepend = scheme == "first"   ? PrependScheme::first
                   : scheme == "never" ? PrependScheme::never
                                       : PrependScheme::always;
    return step;
  }
  part.only_keys({});
  if (type == "Whitespace") {
    const std::string word = rust_word_class();
    std::string other = word;
    other.insert(1, "^\\p{White_Space}");
    return Split{"", Regex::pcre(word + "+|" + other + "+", part.where), Behavior::removed, true};
  }
  if (type == "WhitespaceSplit") {
    return Split{"", Regex::pcre("\\p{White_Space}", part.where), Behavior::removed, false};
  }
  part.unknown_type("Sequence, ByteLevel, Split, Digits, Metaspace, Whitespace, WhitespaceSplit");
}

Words PreTokenizer::apply(std::string text, bool from_start) const {
  Words words;
  words.text = std::move(text);
  words.from_start = from_start;
  if (!words.text.empty()) words.ranges.push_back({0, words.text.size()});
  for (const Step& step : steps_) {
    if (const auto* byte_level_step = std::get_if<ByteLevel>(&step)) byte_level(words, *byte_level_step);
    if (const auto* split_step = std::get_if<Split>(&step)) split(words, *split_step);
    if (const auto* metaspace_step = std::get_if<Metaspace>(&step)) metaspace(words, *metaspace_step);
  }
  return words;
}

// Joins cuts as `behavior` says and appends what is left of them, moved by `offset`.
void PreTokenizer::append_pieces(std::vector<TextRange>& ranges, std::vector<Cut> cuts, size_t offset,
                                 Behavior behavior, bool invert) {
  if (invert) {
    for (Cut& cut : cuts) cut.match = !cut.match;
  }
  const size_t first = ranges.size();
  bool previous = false;  // whether the cut before was a match
  switch (behavior) {
    case Behavior::removed:
    case Behavior::isolated:
      for (const Cut& cut : cuts) {
        if (!cut.match || behavior == Behavior::isolated) ranges.push_back(cut.range);
      }
      break;
    case Behavior::contiguous:
    case Behavior::merged_with_previous:
      for (const Cut& cut : cuts) {
        const bool join = behavior == Behavior::contiguous ? cut.match == previous : cut.match && !previous;
        if (join && ranges.size() > first) {
          ranges.back().end = cut.range.end;
        } else {
          ranges.push_back(cut.range);
        }
        previous = cut.match;
      }
      break;
    case Behavior::merged_with_next:
      for (auto cut = cuts.rbegin(); cut != cuts.rend(); ++cut) {
        if (cut->match && !previous && ranges.size() > first) {
          ranges.back().begin = cut->range.begin;
        } else {
          ranges.push_back(cut->range);
        }
        previous = cut->match;
      }
      std::reverse(ranges.begin() + static_cast<std::ptrdiff_t>(first), ranges.end());
      break;
  }
  size_t kept = first;
  for (size_t i = first; i < ranges.size(); i++) {
    if (ranges[i].begin == ranges[i].end) continue;
    ranges[kept++] = {ranges[i].begin + offset, ranges[i].end + offset};
  }
  ranges.resize(kept);
}

void PreTokenizer::split(Words& words, const Split& split) {
  std::vector<TextRange> ranges;
  ranges.reserve(words.ranges.size());
  const size_t first_begin = words.ranges.empty() ? 0 : words.ranges[0].begin;
  for (const TextRange& range : words.ranges) {
    const std::string_view text = std::string_view(words.text).substr(range.begin, range.end - range.begin);
    auto cuts = split.regex ? cut_by_regex(text, *split.regex) : cut_by_text(text, split.literal);
    append_pieces(ranges, std::move(cuts), range.begin, split.behavior, split.invert);
  }
  if (!ranges.empty() && ranges[0].begin != first_begin) words.from_start = false;  // the first piece was removed
  words.ranges = std::move(ranges);
}

void PreTokenizer::byte_level(Words& words, const ByteLevel& step) {
  if (step.add_prefix_space) {
    Words spaced;
    spaced.from_start = words.from_start;
    spaced.text.reserve(words.text.size() + words.ranges.size());
    for (const TextRange& range : words.ranges) {
      const size_t begin = spaced.text.size();
      if (words.text[range.begin] != ' ') spaced.text += ' ';
      spaced.text.append(words.text, range.begin, range.end - range.begin);
      spaced.ranges.push_back({begin, spaced.text.size()});
    }
    words = std::move(spaced);
  }
  if (step.regex) split(words, Split{"", step.regex, Behavior::isolated, false});
  Words bytes;
  bytes.from_start = words.from_start;
  bytes.text.reserve(words.text.size() + words.text.size() / 2);
  bytes.ranges.reserve(words.ranges.size());
  for (const TextRange& range : words.ranges) {
    const size_t begin = bytes.text.size();
    append_byte_level(bytes.text, std::string_view(words.text).substr(range.begin, range.end - range.begin));
    bytes.ranges.push_back({begin, bytes.text.size()});
  }
  words = std::move(bytes);
}

void PreTokenizer::metaspace(Words& words, const Metaspace& step) {
  Words result;
  result.from_start = words.from_start;
  bool first = words.from_start;
  for (const TextRange& range : words.ranges) {
    std::string piece;
    for (size_t i = range.begin; i < range.end; i++) {
      if (words.text[i] == ' ') {
        piece += step.replacement;
      } else {
        piece += words.text[i];
      }
    }
    const bool wanted = step.prepend == PrependScheme::always || (step.prepend == PrependScheme::first && first);
    if (wanted && piece.compare(0, step.replacement.size(), step.replacement) != 0) piece.insert(0, step.replacement);
    first = false;
    const size_t begin = result.text.size();
    result.text += piece;
    if (step.split) {
      append_pieces(result.ranges, cut_by_text(piece, step.replacement), begin, Behavior::merged_with_next, false);
    } else {
      result.ranges.push_back({begin, result.text.size()});
    }
  }
  words = std::move(result);
}

}  // namespace pare
