#include "pare/pipeline/progress.h"

#include <gtest/gtest.h>

namespace pare {
namespace {

using std::chrono::seconds;
const TimeLeft::Clock::time_point kStart{seconds(1000)};

TEST(TimeLeft, AfterAResumeCountsOnlyWhatThisProcessDid) {
  TimeLeft left(210);
  left.update(148, kStart + seconds(10));  // 147 were there before
  EXPECT_FALSE(left.seconds(kStart + seconds(10)));
  left.update(150, kStart + seconds(30));
  EXPECT_DOUBLE_EQ(left.seconds(kStart + seconds(30)).value(), 60 * 10.0);
}

TEST(TimeLeft, GoesByTheRateOfLate) {
  TimeLeft left(300);
  int64_t time = 0;
  for (int64_t done = 1; done <= 100; ++done) left.update(done, kStart + seconds(time += 100));
  for (int64_t done = 101; done <= 200; ++done) left.update(done, kStart + seconds(time += 2));
  EXPECT_DOUBLE_EQ(left.seconds(kStart + seconds(time)).value(), 100 * 2.0);
}

TEST(TimeLeft, StepsThatWereTakenAlreadyChangeNothing) {
  TimeLeft left(10);
  left.update(0, kStart);
  left.update(5, kStart + seconds(5));
  left.update(5, kStart + seconds(7));
  left.update(3, kStart + seconds(8));
  EXPECT_DOUBLE_EQ(left.seconds(kStart + seconds(10)).value(), 10);
  left.update(10, kStart + seconds(20));
  EXPECT_FALSE(left.seconds(kStart + seconds(20)));
}

}  // namespace
}  // namespace pare
