#include "pare/text/windows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>
#include <numeric>

#include "pare/base/error.h"

namespace pare {
namespace {

using testing::HasSubstr;

std::vector<int32_t> count_up(size_t n) {
  std::vector<int32_t> tokens(n);
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

template <class F>
std::string message(F f) {
  try {
    f();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Windows, EvaluationDropsTheLastShortOne) {
  const auto windows = evaluation_windows(count_up(11), 4);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(windows[0], (std::vector<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(windows[1], (std::vector<int32_t>{4, 5, 6, 7}));
  EXPECT_EQ(evaluation_windows(count_up(4), 4).size(), 1u);
}

TEST(Windows, SamplesAreWindowsOfTheTextAndDependOnTheSeedAlone) {
  const auto tokens = count_up(1000);
  const auto few = sample_windows(tokens, 5, 7, 1), many = sample_windows(tokens, 50, 7, 1);
  ASSERT_EQ(many.size(), 50u);
  for (size_t i = 0; i < few.size(); i++) EXPECT_EQ(few[i], many[i]);
  for (const auto& window : many) {
    ASSERT_EQ(window.size(), 7u);
    for (size_t i = 1; i < 7; i++) EXPECT_EQ(window[i], window[0] + static_cast<int32_t>(i));
    EXPECT_LE(window.back(), 999);
  }
  EXPECT_NE(sample_windows(tokens, 5, 7, 2), few);
  EXPECT_EQ(sample_windows(count_up(7), 1, 7, 3), (std::vector<std::vector<int32_t>>{count_up(7)}));
}

TEST(Windows, AShortTextGivesAsManyAsThereAre) {
  EXPECT_EQ(sample_windows(count_up(29), 100, 10, 1), evaluation_windows(count_up(29), 10));
}

TEST(Windows, TooFewTokensAreNamed) {
  EXPECT_THAT(message([] { evaluation_windows(count_up(3), 4); }),
              HasSubstr("the text has 3 tokens, a window takes 4"));
  EXPECT_THAT(message([] { sample_windows(count_up(0), 1, 4, 1); }), HasSubstr("the text has 0 tokens"));
  EXPECT_THROW(evaluation_windows(count_up(3), 0), UsageError);
}

TEST(ReadTextFiles, JoinsThemAsTheyStandAndRefusesWhatIsNoText) {
  const auto folder = std::filesystem::temp_directory_path() / ("pare-windows-test-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
    return folder / name;
  };
  const auto a = write("a", "one\n"), b = write("b", "two"), empty = write("empty", ""),
             binary = write("binary", std::string("ab\0c", 4));
  EXPECT_EQ(read_text_files({a, b, a}), "one\ntwoone\n");
  EXPECT_THAT(message([&] { read_text_files({a, folder / "none"}); }), HasSubstr("none: cannot open"));
  EXPECT_THAT(message([&] { read_text_files({a, empty}); }), HasSubstr("empty: is empty"));
  EXPECT_THAT(message([&] { read_text_files({a, binary}); }), HasSubstr("binary: has a zero byte at 2"));
  EXPECT_THAT(message([&] { read_text_files({folder}); }), HasSubstr("is a folder"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace pare
