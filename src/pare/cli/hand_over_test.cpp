#include "pare/cli/hand_over.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "pare/base/error.h"

namespace pare {
namespace {

TEST(HandOver, SaysWhatIsMissingWhenTheTorchPartIsAbsent) {
  char* argv[] = {nullptr};
  try {
    hand_over("/nowhere/pare-torch", argv, "eval");
    FAIL();
  } catch (const UnsupportedError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("eval"), testing::HasSubstr("/nowhere/pare-torch"),
                                             testing::HasSubstr("PARE_TORCH")));
  }
}

TEST(HandOver, TheOtherProgramGetsTheSameWordsAndItsExitCodeIsOurs) {
  const pid_t child = fork();
  if (child == 0) {
    std::string words[] = {"pare", "-c", "test \"$0\" = two && exit 37", "two"};
    char* argv[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
    hand_over("/bin/sh", argv, "eval");
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 37);
}

TEST(HandOver, LooksInTheFolderOfTheRunningProgram) {
  EXPECT_EQ(torch_program().filename(), "pare-torch");
  EXPECT_TRUE(torch_program().is_absolute());
}

}  // namespace
}  // namespace pare
