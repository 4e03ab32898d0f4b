#include "pare/budget/choose_options.h"

#include <gtest/gtest.h>

#include <limits>

#include "pare/base/random.h"

namespace pare {
namespace {

using Items = std::vector<std::vector<Option>>;

struct Sum {
  uint64_t cost = 0;
  double loss = 0;
};
Sum sum_of(const Items& items, const std::vector<size_t>& choice) {
  Sum sum;
  for (size_t i = 0; i < items.size(); ++i) {
    sum.cost += items[i].at(choice[i]).cost;
    sum.loss += items[i].at(choice[i]).loss;
  }
  return sum;
}

// Every choice there is.
double least_loss(const Items& items, uint64_t budget, size_t item = 0, Sum so_far = {}) {
  if (so_far.cost > budget) return std::numeric_limits<double>::infinity();
  if (item == items.size()) return so_far.loss;
  double least = std::numeric_limits<double>::infinity();
  for (const Option& option : items[item]) {
    least =
        std::min(least, least_loss(items, budget, item + 1, {so_far.cost + option.cost, so_far.loss + option.loss}));
  }
  return least;
}

Items random_items(uint64_t seed, size_t count, uint64_t most_cost) {
  const CounterRandom random(seed, "items");
  Items items(count);
  uint64_t draw = 0;
  for (auto& options : items) {
    options.resize(1 + random.below(draw++, 5));
    for (Option& option : options) option = {random.below(draw++, most_cost), random.uniform(draw++)};
  }
  return items;
}

TEST(ChooseOptions, IsTheBestOfAllChoices) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Items items = random_items(seed, 6, 100);
    for (const uint64_t budget : {60u, 150u, 250u, 400u}) {
      const auto choice = choose_options(items, budget);
      const double best = least_loss(items, budget);
      if (choice.empty()) {
        EXPECT_EQ(best, std::numeric_limits<double>::infinity()) << seed << " " << budget;
        continue;
      }
      EXPECT_LE(sum_of(items, choice).cost, budget);
      EXPECT_NEAR(sum_of(items, choice).loss, best, 1e-12) << seed << " " << budget;
    }
  }
}

TEST(ChooseOptions, StaysWithinABudgetOfManyBytesAndComesCloseToTheBest) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Items items = random_items(seed, 7, 10'000'000'019);
    const uint64_t budget = 25'000'000'000;
    const auto choice = choose_options(items, budget);
    if (choice.empty()) continue;
    EXPECT_LE(sum_of(items, choice).cost, budget);
    EXPECT_LE(sum_of(items, choice).loss, least_loss(items, budget) * 1.02 + 1e-12) << seed;
  }
}

TEST(ChooseOptions, MoreRoomIsNeverWorse) {
  const Items items = random_items(7, 40, 1'000'003);
  double before = std::numeric_limits<double>::infinity();
  for (uint64_t budget = 8'000'000; budget < 30'000'000; budget += 1'000'000) {
    const auto choice = choose_options(items, budget);
    if (choice.empty()) continue;
    const double loss = sum_of(items, choice).loss;
    EXPECT_LE(loss, before * (1 + 1e-3));
    before = loss;
  }
  EXPECT_LT(before, std::numeric_limits<double>::infinity());
}

TEST(ChooseOptions, TakesTheCheapestOptionsAtABudgetOfJustThose) {
  const Items items{{{10, 1}, {5, 2}}, {{7, 0.5}, {3, 0.9}}};
  EXPECT_EQ(choose_options(items, 8), (std::vector<size_t>{1, 1}));
  EXPECT_TRUE(choose_options(items, 7).empty());
  EXPECT_EQ(choose_options(items, 1000), (std::vector<size_t>{0, 0}));
}

TEST(ChooseOptions, OfEqualLossesTheCheaper) {
  EXPECT_EQ(choose_options({{{10, 1}, {5, 1}, {7, 1}}}, 100), (std::vector<size_t>{1}));
}

}  // namespace
}  // namespace pare
