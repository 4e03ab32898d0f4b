#include "pare/io/output_folder.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pare/io/test_files.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

size_t entries(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator{}));
}

TEST(OutputFolder, AppearsWholeOnCommit) {
  const TemporaryFolder folder;
  OutputFolder output(folder.path() / "out");
  output.write_file("a.txt", "hello");
  output.copy_file(folder.write("source", "bytes"), "sub/b.bin");
  EXPECT_FALSE(fs::exists(folder.path() / "out"));
  output.commit();
  EXPECT_EQ(read_whole(folder.path() / "out" / "a.txt"), "hello");
  EXPECT_EQ(read_whole(folder.path() / "out" / "sub" / "b.bin"), "bytes");
  EXPECT_EQ(entries(folder.path()), 2u);  // out and source: nothing partial
}

TEST(OutputFolder, SomeOfItsFilesCanAppearInsteadOfIt) {
  const TemporaryFolder folder;
  OutputFolder output(folder.path() / "out.gguf", {}, {"out.report.json", "out.gguf"});
  output.write_file("out.gguf", "hello");
  output.write_file("out.report.json", "{}");
  output.write_file("sub/b.txt", "left behind");
  EXPECT_EQ(entries(folder.path()), 1u);
  output.commit();
  EXPECT_EQ(read_whole(folder.path() / "out.gguf"), "hello");
  EXPECT_EQ(read_whole(folder.path() / "out.report.json"), "{}");
  EXPECT_EQ(entries(folder.path()), 2u);
}

TEST(OutputFolder, RefusesToWriteOverAnyOfItsFiles) {
  const TemporaryFolder folder;
  const std::vector<std::string> files{"out.report.json", "out.gguf"};
  folder.write("out.report.json", "mine");
  EXPECT_THAT(message_of([&] { OutputFolder::check(folder.path() / "out.gguf", {}, files); }),
              HasSubstr("out.report.json: exists already"));
  fs::remove(folder.path() / "out.report.json");
  OutputFolder::check(folder.path() / "out.gguf", {}, files);
}

// Dies between the two: the second one's place is taken, so the commit fails, and the process ends then and there.
void commit_and_die_half_way(const fs::path& folder) {
  const pid_t child = ::fork();
  if (child == 0) {
    OutputFolder output(folder / "out.gguf", {}, {"a", "out.gguf"});
    output.write_file("a", "first");
    output.write_file("out.gguf", "second");
    fs::create_directories(folder / "out.gguf/in the way");
    try {
      output.commit();
    } catch (const Error&) {
      ::_exit(0);
    }
    ::_exit(1);
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  fs::remove_all(folder / "out.gguf");
}

TEST(OutputFolder, GoesOnWithTheFilesOfARunThatWasKilledWhileItPutThemInPlace) {
  const TemporaryFolder folder;
  commit_and_die_half_way(folder.path());
  const auto partial = fs::directory_iterator(folder.path())->path();
  fs::rename(partial / "a", folder.path() / "a");  // as far as it came
  OutputFolder::finish_killed(folder.path() / "out.gguf");
  EXPECT_EQ(read_whole(folder.path() / "a"), "first");
  EXPECT_EQ(read_whole(folder.path() / "out.gguf"), "second");
  EXPECT_EQ(entries(folder.path()), 2u);
  OutputFolder::finish_killed(folder.path() / "out.gguf");  // nothing to do

  const TemporaryFolder taken;
  commit_and_die_half_way(taken.path());
  taken.write("out.gguf", "mine");
  EXPECT_THAT(message_of([&] { OutputFolder::finish_killed(taken.path() / "out.gguf"); }),
              HasSubstr("made by somebody else"));
  EXPECT_EQ(read_whole(taken.path() / "out.gguf"), "mine");
}

TEST(OutputFolder, WithoutCommitNothingIsLeft) {
  const TemporaryFolder folder;
  {
    OutputFolder output(folder.path() / "out");
    output.write_file("a.txt", "hello");
  }
  EXPECT_EQ(entries(folder.path()), 0u);
}

TEST(OutputFolder, RefusesWhatExistsAndWhatIsTheInput) {
  const TemporaryFolder folder;
  folder.write("model/config.json", "{}");
  const std::vector<fs::path> inputs{folder.path() / "model"};
  EXPECT_THAT(message_of([&] { OutputFolder::check(folder.path() / "model", {}); }), HasSubstr("exists already"));
  EXPECT_THAT(message_of([&] { OutputFolder::check(folder.path() / "model" / "", inputs); }), HasSubstr("input"));
  EXPECT_THAT(message_of([&] { OutputFolder::check(folder.path() / "model" / "x", inputs); }), HasSubstr("input"));
  EXPECT_THAT(message_of([&] { OutputFolder::check(folder.path() / "nowhere" / "x", inputs); }),
              HasSubstr("no such folder"));
  fs::create_directory(folder.path() / "empty");
  OutputFolder output(folder.path() / "empty", inputs);
  output.write_file("a", "b");
  output.commit();
  EXPECT_TRUE(fs::exists(folder.path() / "empty" / "a"));
}

TEST(OutputFolder, ClearsWhatKilledRunsLeftAndNothingElse) {
  const TemporaryFolder folder;
  folder.write("out.partial-999999999/x", "");  // no such process
  folder.write("out.partial-1/x", "");          // a process that lives
  folder.write("out.partial-notes/x", "");      // not ours
  OutputFolder output(folder.path() / "out");
  EXPECT_FALSE(fs::exists(folder.path() / "out.partial-999999999"));
  EXPECT_TRUE(fs::exists(folder.path() / "out.partial-1"));
  EXPECT_TRUE(fs::exists(folder.path() / "out.partial-notes"));
}

TEST(OutputFolder, SaysWhatADiskLacks) {
  EXPECT_THAT(message_of([] { require_free_space("/tmp/out", uint64_t{1} << 62); }), HasSubstr("are free"));
}

TEST(WriteFileAtomically, ReplacesTheOldFileOrLeavesIt) {
  const TemporaryFolder folder;
  const auto path = folder.write("a.json", "old");
  write_file_atomically(path, "new");
  EXPECT_EQ(read_whole(path), "new");
  EXPECT_EQ(entries(folder.path()), 1u);
  EXPECT_THROW(write_file_atomically(folder.path() / "no" / "a", "x"), ResourceError);
}

}  // namespace
}  // namespace pare
