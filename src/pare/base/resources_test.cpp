#include "pare/base/resources.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <limits>

namespace pare {
namespace {

namespace fs = std::filesystem;

// A made-up cgroup of version 2.
class Cgroup : public testing::Test {
 protected:
  Cgroup() : folder_(fs::temp_directory_path() / ("pare_cgroup_" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~Cgroup() override { fs::remove_all(folder_); }
  void write(const char* name, const std::string& text) const { std::ofstream(folder_ / name) << text; }

  fs::path folder_;
};

TEST_F(Cgroup, FilesReadAWhileAgoAreNotUsedMemory) {
  write("memory.max", "8000\n");
  write("memory.current", "7000\n");
  EXPECT_EQ(available_in_cgroup_bytes(folder_), 1000u);
  write("memory.stat", "anon 2000\nfile 5000\nactive_file 1000\ninactive_file 4000\nslab 1\n");
  EXPECT_EQ(available_in_cgroup_bytes(folder_), 5000u);
}

TEST_F(Cgroup, WithoutALimitItLimitsNothing) {
  constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(available_in_cgroup_bytes(folder_), kNoLimit);
  write("memory.max", "max\n");
  write("memory.current", "7000\n");
  EXPECT_EQ(available_in_cgroup_bytes(folder_), kNoLimit);
}

TEST_F(Cgroup, AboveItsLimitNothingIsLeft) {
  write("memory.max", "8000\n");
  write("memory.current", "9000\n");
  EXPECT_EQ(available_in_cgroup_bytes(folder_), 0u);
  write("memory.stat", "inactive_file 99999\n");  // the files are not read at one instant
  EXPECT_EQ(available_in_cgroup_bytes(folder_), 8000u);
}

TEST(Resources, ThisProcessUsesMemoryAndSomeIsLeft) {
  EXPECT_GT(current_rss_bytes(), 1u << 20);
  EXPECT_GE(peak_rss_bytes(), current_rss_bytes());
  EXPECT_GT(available_memory_bytes(), 0u);
}

}  // namespace
}  // namespace pare
