#include "pare/io/output_folder.h"

#include <gmock/gmock.h>

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

TEST(OutputFolder, OneOfItsFilesCanBecomeThePathItself) {
  const TemporaryFolder folder;
  OutputFolder output(folder.path() / "out.gguf");
  output.write_file("a.txt", "hello");
  output.write_file("sub/b.txt", "left behind");
  output.commit_file("a.txt");
  EXPECT_EQ(read_whole(folder.path() / "out.gguf"), "hello");
  EXPECT_EQ(entries(folder.path()), 1u);
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
