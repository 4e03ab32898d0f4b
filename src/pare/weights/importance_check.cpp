// Is a matrix whole, and of this model? Everything that is wrong is said at once, a line for each kind.

#include <cmath>
#include <set>
#include <utility>

#include "pare/weights/importance_matrix.h"

namespace pare {
namespace {

// "3, 7, 12 and 9 more"
std::string some_of(const std::vector<std::string>& names) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < names.size() && i < kShown; ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  return text;
}

// Tensors by what is wrong with them, in the order in which it was found: another model's matrix is wrong in hundreds.
class Findings {
 public:
  void add(const std::string& what, const std::string& where) {
    for (auto& [known, places] : list_) {
      if (known == what) {
        places.push_back(where);
        return;
      }
    }
    list_.emplace_back(what, std::vector{where});
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> result;
    for (const auto& [what, places] : list_) {
      const std::string count = places.size() == 1 ? "" : " (" + std::to_string(places.size()) + " tensors)";
      result.push_back(what + count + ": " + some_of(places));
    }
    return result;
  }

 private:
  std::vector<std::pair<std::string, std::vector<std::string>>> list_;
};

// Of one entry of the right length.
void check_values(const std::string& name, const ImportanceMatrix::Entry& entry, Findings& findings) {
  const size_t width = entry.sums.size() / entry.counts.size(), experts = entry.counts.size();
  std::vector<std::string> unseen;
  for (size_t expert = 0; expert < experts; ++expert) {
    const std::string number = std::to_string(expert), whose = experts == 1 ? name : name + " expert " + number;
    const double count = entry.counts[expert];
    if (!std::isfinite(count) || count < 0) findings.add("a count of tokens below 0 or not finite", whose);
    if (count == 0) unseen.push_back(number);
    bool all_zero = true;
    const char* wrong = nullptr;
    for (size_t i = expert * width; i < (expert + 1) * width && wrong == nullptr; ++i) {
      const float value = entry.sums[i];
      all_zero = all_zero && value == 0;
      if (std::isnan(value)) wrong = "NaN where squares are summed";
      if (std::isinf(value)) wrong = "an infinite sum of squares";
      if (value < 0) wrong = "a sum of squares below 0";
      if (wrong != nullptr) findings.add(wrong, whose + " input " + std::to_string(i - expert * width));
    }
    if (wrong == nullptr && all_zero && count > 0) findings.add("all values are 0", whose);
  }
  if (unseen.empty()) return;
  findings.add(experts == 1 ? "no token was counted" : "experts that saw no token; calibrate on more text",
               experts == 1 ? name
                            : name + " " + std::to_string(unseen.size()) + " of " + std::to_string(experts) + " (" +
                                  some_of(unseen) + ")");
}

std::string shape_words(int64_t inputs, int64_t experts) {
  return std::to_string(inputs) + " inputs" + (experts == 1 ? "" : " of " + std::to_string(experts) + " experts");
}

}  // namespace

ImportanceCheck check_importance(const ImportanceMatrix& matrix, const std::vector<WeighedTensor>& model) {
  Findings problems;
  ImportanceCheck check;
  std::set<std::string> known;
  std::vector<std::string> not_needed;
  for (const WeighedTensor& tensor : model) {
    known.insert(tensor.name);
    const auto found = matrix.entries.find(tensor.name);
    if (found == matrix.entries.end()) {
      if (tensor.needed) {
        problems.add("missing, and to be rounded", tensor.name);
      } else {
        not_needed.push_back(tensor.name);
      }
      continue;
    }
    const ImportanceMatrix::Entry& entry = found->second;
    const auto experts = static_cast<int64_t>(entry.counts.size());
    if (entry.inputs() != tensor.inputs || experts != tensor.experts) {
      problems.add("values for " + shape_words(entry.inputs(), experts) + " where the model has " +
                       shape_words(tensor.inputs, tensor.experts),
                   tensor.name);
      continue;
    }
    check_values(tensor.name, entry, problems);
  }
  for (const auto& [name, entry] : matrix.entries) {
    if (!known.contains(name)) problems.add("not in this model", name);
  }
  check.problems = problems.lines();
  if (!not_needed.empty()) {
    check.notes.push_back("importance matrix: nothing for " + some_of(not_needed) +
                          ", rounded without it or not at all");
  }
  return check;
}

}  // namespace pare
