#include "pare/budget/choose_options.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pare/base/error.h"

namespace pare {
namespace {

constexpr uint64_t kCostSteps = 65536;
constexpr double kNever = std::numeric_limits<double>::infinity();

uint64_t cost_of(const std::vector<std::vector<Option>>& items, const std::vector<size_t>& choice) {
  uint64_t sum = 0;
  for (size_t i = 0; i < items.size(); ++i) sum += items[i][choice[i]].cost;
  return sum;
}

// Of each item the cheapest option, of those the best.
std::vector<size_t> cheapest(const std::vector<std::vector<Option>>& items) {
  std::vector<size_t> choice;
  for (const auto& options : items) {
    const auto least = std::min_element(options.begin(), options.end(), [](const Option& a, const Option& b) {
      return a.cost != b.cost ? a.cost < b.cost : a.loss < b.loss;
    });
    choice.push_back(static_cast<size_t>(least - options.begin()));
  }
  return choice;
}

// least[c]: the least loss of the items so far at c steps beyond their cheapest options.
std::vector<size_t> by_steps(const std::vector<std::vector<Option>>& items, const std::vector<size_t>& base,
                             uint64_t room) {
  const uint64_t step = std::max<uint64_t>(1, (room + kCostSteps - 1) / kCostSteps);
  const size_t states = static_cast<size_t>(room / step) + 1;
  std::vector<double> least(states, 0.0), next(states);
  std::vector<std::vector<uint16_t>> taken(items.size(), std::vector<uint16_t>(states));
  for (size_t i = 0; i < items.size(); ++i) {
    std::fill(next.begin(), next.end(), kNever);
    for (size_t o = 0; o < items[i].size(); ++o) {
      const Option& option = items[i][o];
      const uint64_t extra = (option.cost - items[i][base[i]].cost + step - 1) / step;
      for (size_t c = static_cast<size_t>(std::min<uint64_t>(extra, states)); c < states; ++c) {
        const double loss = least[c - static_cast<size_t>(extra)] + option.loss;
        const size_t before = taken[i][c];
        if (loss < next[c] || (loss == next[c] && option.cost < items[i][before].cost)) {
          next[c] = loss;
          taken[i][c] = static_cast<uint16_t>(o);
        }
      }
    }
    least.swap(next);
  }
  std::vector<size_t> choice(items.size());
  size_t c = states - 1;
  for (size_t i = items.size(); i-- > 0;) {
    choice[i] = taken[i][c];
    c -= static_cast<size_t>((items[i][choice[i]].cost - items[i][base[i]].cost + step - 1) / step);
  }
  return choice;
}

// What the rounding of costs left: the exchange that saves most, as long as one fits.
void fill(const std::vector<std::vector<Option>>& items, uint64_t budget, std::vector<size_t>& choice) {
  uint64_t cost = cost_of(items, choice);
  for (;;) {
    double best = 0;
    size_t item = 0, option = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      const Option& now = items[i][choice[i]];
      for (size_t o = 0; o < items[i].size(); ++o) {
        const double saved = now.loss - items[i][o].loss;
        if (saved > best && cost - now.cost + items[i][o].cost <= budget) {
          best = saved;
          item = i;
          option = o;
        }
      }
    }
    if (best <= 0) return;
    cost = cost - items[item][choice[item]].cost + items[item][option].cost;
    choice[item] = option;
  }
}

}  // namespace

std::vector<size_t> choose_options(const std::vector<std::vector<Option>>& items, uint64_t budget) {
  for (const auto& options : items) {
    PARE_ASSERT(!options.empty() && options.size() < 65536);
    for (const Option& option : options) PARE_ASSERT(std::isfinite(option.loss) && option.loss >= 0);
  }
  const std::vector<size_t> base = cheapest(items);
  const uint64_t least = cost_of(items, base);
  if (least > budget) return {};
  if (items.empty()) return {};
  std::vector<size_t> choice = by_steps(items, base, budget - least);
  fill(items, budget, choice);
  return choice;
}

}  // namespace pare
