// The choice under a budget: of each item one option, so that the costs together stay within the budget and the losses
// together are least. The multiple-choice knapsack; items are layers, costs bytes (or microseconds), losses what an
// option's error costs the model.
//
// A dynamic program over costs in at most `kCostSteps` steps of the budget, rounded up, so that the budget holds
// whatever is lost by rounding; then single exchanges that lower the loss and fit exactly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pare {

struct Option {
  uint64_t cost = 0;
  double loss = 0;  // finite, >= 0
};

// [items] the index of each item's option; empty when even the cheapest options are over the budget. Same choice for
// the same figures; of equal losses the cheaper.
std::vector<size_t> choose_options(const std::vector<std::vector<Option>>& items, uint64_t budget);

}  // namespace pare
