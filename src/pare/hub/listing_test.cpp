#include "pare/hub/listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pare/base/error.h"

namespace pare {
namespace {

const std::string kSha1(40, 'a'), kSha256(64, 'b');

std::string entry(const std::string& path, const std::string& size = "5") {
  return R"({"type":"file","path":")" + path + R"(","size":)" + size + R"(,"oid":")" + kSha1 + R"("})";
}

std::vector<HubFile> parsed(const std::string& json) {
  std::vector<HubFile> files;
  parse_tree_page(json, "org/name", files);
  check_listing(files, "org/name");
  return files;
}

std::string fault(const std::string& json) {
  try {
    parsed(json);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(HubListing, ReadsFilesWithTheirHashesAndSkipsFolders) {
  const auto files =
      parsed(R"([{"type":"directory","path":"a","oid":"x","size":0},)" + entry("a/config.json") +
             R"(,{"type":"file","path":"m.safetensors","size":134,"oid":")" + kSha1 + R"(","lfs":{"oid":")" + kSha256 +
             R"(","size":9000000000,"pointerSize":134},"xetHash":"z"}])");
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].path, "a/config.json");
  EXPECT_EQ(files[0].bytes, 5u);
  EXPECT_EQ(files[0].blob(), kSha1);
  EXPECT_EQ(files[1].bytes, 9000000000u);  // of the content, not of the pointer
  EXPECT_EQ(files[1].blob(), kSha256);
  EXPECT_EQ(
      parsed(R"([{"type":"file","path":"m","size":1,"lfs":{"oid":"sha256:)" + kSha256 + R"(","size":1}}])")[0].sha256,
      kSha256);
}

TEST(HubListing, RefusesEveryPathThatIsNotSafelyBelowAFolder) {
  for (const std::string path : {"", "/etc/passwd", "../x", "a/../../x", "a/..", ".", "a//b", "a/", "a/./b",
                                 "a\\u0000b", "\\u001b[2J", "a\\nb", "a\\u007f"}) {
    EXPECT_THAT(fault("[" + entry(path) + "]"), testing::HasSubstr("the path")) << path;
  }
  EXPECT_NE(fault("[" + entry(std::string(256, 'x')) + "]"), "");
  std::string deep = "x";
  while (deep.size() < 2100) deep += "/x";
  EXPECT_NE(fault("[" + entry(deep) + "]"), "");
  for (const std::string path : {"..a", "a..", "...", "a b", "ünï/cödé", "a\\\\b", "-rf"}) {
    EXPECT_EQ(fault("[" + entry(path) + "]"), "") << path;
  }
}

TEST(HubListing, RefusesSizesAndHashesThatAreNone) {
  for (const char* size : {"-1", "1.5", "\"5\"", "null", "9223372036854775808", "1e3"}) {
    EXPECT_THAT(fault("[" + entry("a", size) + "]"), testing::HasSubstr("a: its \"size\"")) << size;
  }
  EXPECT_THAT(fault("[" + entry("a", "9223372036854775807") + "," + entry("b", "9223372036854775807") + "," +
                    entry("c", "9223372036854775807") + "]"),
              testing::HasSubstr("no sum"));
  for (const std::string oid : {"", "../../x", "aaaa", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}) {
    EXPECT_THAT(fault(R"([{"type":"file","path":"a","size":1,"oid":")" + oid + "\"}]"), testing::HasSubstr("oid"))
        << oid;
  }
}

TEST(HubListing, RefusesAPathThatIsThereTwiceOrIsAlsoAFolder) {
  EXPECT_THAT(fault("[" + entry("a") + "," + entry("b") + "," + entry("a") + "]"), testing::HasSubstr("listed twice"));
  EXPECT_THAT(fault("[" + entry("a/b/c") + "," + entry("a.txt") + "," + entry("a") + "]"),
              testing::HasSubstr("as a folder"));
  EXPECT_EQ(fault("[" + entry("a/b") + "," + entry("a.b") + "," + entry("a0") + "]"), "");
}

TEST(HubListing, RefusesWhatIsNoListing) {
  for (const char* text : {"", "{}", "[1]", "null", "[{}]", "<html>", "[{\"type\":1}]", "[{\"type\":\"file\"}]"}) {
    EXPECT_NE(fault(text), "") << text;
  }
  EXPECT_NE(fault(std::string(100, '[')), "");
  std::string many = "[";
  for (size_t i = 0; i <= kMaxHubFiles; ++i) many += (i ? "," : "") + entry(std::to_string(i));
  EXPECT_THAT(fault(many + "]"), testing::HasSubstr("more than 100000 files"));
}

TEST(HubListing, TakesACommitOnlyFromFortyHexDigits) {
  EXPECT_EQ(parse_commit(R"({"sha":")" + kSha1 + R"(","siblings":[]})", "x"), kSha1);
  for (const char* text :
       {"{}", "[]", R"({"sha":1})", R"({"sha":"main"})", R"({"sha":"../../../../../../../../../../tmp/aaaaaaaaa"})"}) {
    EXPECT_THROW(parse_commit(text, "x"), InputError) << text;
  }
}

TEST(HubListing, FindsTheNextPage) {
  EXPECT_EQ(next_page(R"(<https://h/t?cursor=a%3D>; rel="next")"), "https://h/t?cursor=a%3D");
  EXPECT_EQ(next_page(R"(<https://h/1>; rel="first", <https://h/2>; rel="next", <https://h/9>; rel="last")"),
            "https://h/2");
  for (const char* link : {"", "<", "<>", "<https://h/1>; rel=\"last\"", "rel=\"next\"", ">; rel=\"next\" <"}) {
    EXPECT_EQ(next_page(link), "") << link;
  }
}

}  // namespace
}  // namespace pare
