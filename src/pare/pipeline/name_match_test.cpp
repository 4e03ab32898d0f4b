#include "pare/pipeline/name_match.h"

#include <gmock/gmock.h>

#include "pare/base/error.h"

namespace pare {
namespace {

bool matches(const std::string& pattern, const std::string& name) {
  return NameMatch(pattern).matches(name);
}

TEST(NameMatch, AWordIsItselfAlone) {
  EXPECT_TRUE(matches("model.layers.0.mlp.up_proj", "model.layers.0.mlp.up_proj"));
  EXPECT_FALSE(matches("model.layers.0.mlp", "model.layers.0.mlp.up_proj"));
  EXPECT_FALSE(matches("up_proj", "model.layers.0.mlp.up_proj"));
  EXPECT_FALSE(matches("model.layersX0.mlp.up_proj", "model.layers.0.mlp.up_proj"));
}

TEST(NameMatch, AStarStandsForAnything) {
  const std::string name = "model.layers.10.mlp.up_proj";
  for (const char* glob : {"*", "**", "*.up_proj", "model.*", "model.layers.1*.up_proj", "*layers*mlp*", "*p*p*p*",
                           "model.layers.10.mlp.up_proj*"}) {
    EXPECT_TRUE(matches(glob, name)) << glob;
  }
  for (const char* glob : {"*.up", "layers*", "*x*", "model.*.down_proj", "*up_proj*up_proj"}) {
    EXPECT_FALSE(matches(glob, name)) << glob;
  }
  EXPECT_FALSE(matches(std::string(2000, '*') + "x", std::string(2000, 'a')));  // no blow-up
}

TEST(NameMatch, RegularExpressionsMatchFromTheStart) {
  EXPECT_TRUE(matches("re:.*up_proj$", "model.layers.0.mlp.up_proj"));
  EXPECT_TRUE(matches(R"(re:model\.layers\.[0-3]\.)", "model.layers.2.mlp.up_proj"));
  EXPECT_FALSE(matches(R"(re:model\.layers\.[0-3]\.)", "model.layers.12.mlp.up_proj"));
  EXPECT_FALSE(matches("re:up_proj", "model.layers.0.mlp.up_proj"));
}

TEST(NameMatch, SaysWhereAnExpressionIsWrong) {
  for (const char* wrong : {"re:(", "re:[a", "re:*", "re:a{2,1}", R"(re:\)", ""}) {
    EXPECT_THROW(NameMatch{wrong}, UsageError) << wrong;
  }
  try {
    NameMatch match("re:abc(d");
    ADD_FAILURE();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("re:abc(d"), testing::HasSubstr("character 8")));
  }
}

TEST(NameMatch, ARunawayExpressionIsStopped) {
  const NameMatch match("re:(a+)+$");
  EXPECT_THROW(match.matches(std::string(60, 'a') + "b"), UsageError);
}

}  // namespace
}  // namespace pare
