#include "pare/pipeline/name_match.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string_view>

#include "pare/base/error.h"

namespace pare {

namespace {

constexpr std::string_view kRegexPrefix = "re:";
constexpr uint32_t kMostSteps = 100'000;   // of a match: names are short, an expression that needs more runs away
constexpr size_t kLongestPattern = 4'096;  // characters

std::string message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

// Greedy with one way back: enough for globs, linear for names as they are.
bool glob_matches(std::string_view glob, std::string_view name) {
  size_t g = 0, n = 0, star = std::string_view::npos, retry = 0;
  while (n < name.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      retry = n;
    } else if (g < glob.size() && glob[g] == name[n]) {
      ++g;
      ++n;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      n = ++retry;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

}  // namespace

struct NameMatch::Regex {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_match_data* data = nullptr;
  ~Regex() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
};

NameMatch::NameMatch(const std::string& pattern) : pattern_(pattern) {
  if (pattern.empty() || pattern.size() > kLongestPattern) {
    throw UsageError("match: " + std::to_string(pattern.size()) +
                     " characters; expected a layer's name, a glob or re:REGEX");
  }
  if (!pattern.starts_with(kRegexPrefix)) return;
  regex_ = std::make_unique<Regex>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  const std::string_view body = std::string_view(pattern).substr(kRegexPrefix.size());
  regex_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(body.data()), body.size(),
                               PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (regex_->code == nullptr) {
    throw UsageError("match: \"" + pattern + "\" is not a regular expression: " + message(error) + " at character " +
                     std::to_string(offset + kRegexPrefix.size()));
  }
  regex_->context = pcre2_match_context_create(nullptr);
  regex_->data = pcre2_match_data_create_from_pattern(regex_->code, nullptr);
  PARE_ASSERT(regex_->context != nullptr && regex_->data != nullptr);
  pcre2_set_match_limit(regex_->context, kMostSteps);
}

NameMatch::~NameMatch() = default;
NameMatch::NameMatch(NameMatch&&) noexcept = default;

bool NameMatch::matches(const std::string& name) const {
  if (!regex_) return glob_matches(pattern_, name);
  const int result = pcre2_match(regex_->code, reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0, 0,
                                 regex_->data, regex_->context);
  if (result >= 0) return true;
  if (result == PCRE2_ERROR_NOMATCH) return false;
  throw UsageError("match: \"" + pattern_ + "\" on " + name + ": " + message(result) + ". Use a simpler expression.");
}

}  // namespace pare
