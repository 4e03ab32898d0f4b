#include "pare/base/part_name.h"

#include <gtest/gtest.h>

namespace pare {
namespace {

TEST(PartName, IsReadAndWritten) {
  const auto part = part_name("dir/Model-Q4_K_M-00002-of-00013");
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(part->name, "dir/Model-Q4_K_M");
  EXPECT_EQ(part->number, 2);
  EXPECT_EQ(part->count, 13);
  EXPECT_EQ(part_stem(part->name, part->number, part->count), "dir/Model-Q4_K_M-00002-of-00013");
}

TEST(PartName, OtherNamesAreNone) {
  for (const char* stem :
       {"", "model", "-00001-of-00002", "m-00001-of-0002", "m-0001-of-00002", "m-00001-of-000x2", "m-00001_of-00002",
        "m_00001-of-00002", "m-00000-of-00002", "m-00003-of-00002", "m-+0001-of-00002", "m-00001-of-00002-"}) {
    EXPECT_FALSE(part_name(stem).has_value()) << stem;
  }
}

TEST(PartName, AllPartsShareAFirstPartAndAName) {
  EXPECT_EQ(first_part("a/m-00002-of-00003.gguf"), "a/m-00001-of-00003.gguf");
  EXPECT_EQ(first_part("a/m-00001-of-00003.gguf"), "a/m-00001-of-00003.gguf");
  EXPECT_EQ(first_part("a/m.Q4_0.gguf"), "a/m.Q4_0.gguf");
  EXPECT_EQ(without_part("a/m.Q4_0-00002-of-00003.gguf"), "a/m.Q4_0");
  EXPECT_EQ(without_part("m.Q4_0.gguf"), "m.Q4_0");
}

}  // namespace
}  // namespace pare
