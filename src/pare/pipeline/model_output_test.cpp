#include "pare/pipeline/model_output.h"

#include <gmock/gmock.h>

#include "pare/io/test_files.h"

namespace pare {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ModelOutput, AFolderHoldsAllUnderTheirOwnNames) {
  const ModelOutput out("a/small/");
  EXPECT_FALSE(out.is_file());
  EXPECT_EQ(out.path(), "a/small");
  EXPECT_EQ(out.gguf_name(), "");
  EXPECT_EQ(out.companion("report.json"), "report.json");
  EXPECT_EQ(out.place_of("report.json"), "a/small/report.json");
  const ExportSizes sizes{.weight_bytes = 9, .file_names = {"m.gguf"}, .file_bytes = {9}, .parameter_bytes = {}};
  EXPECT_THAT(out.files(sizes, {"report.json"}), IsEmpty());
  EXPECT_EQ(out.model(sizes), "a/small");
}

TEST(ModelOutput, AFileHasTheRestBesideItAndAppearsLast) {
  const ModelOutput out("a/small.Q4_0.gguf");
  EXPECT_TRUE(out.is_file());
  EXPECT_EQ(out.gguf_name(), "small.Q4_0");
  EXPECT_EQ(out.companion("report.json"), "small.Q4_0.report.json");
  EXPECT_EQ(out.place_of("report.json"), "a/small.Q4_0.report.json");
  const std::string first = "small.Q4_0-00001-of-00002.gguf", second = "small.Q4_0-00002-of-00002.gguf";
  const ExportSizes sizes{
      .weight_bytes = 9, .file_names = {first, second}, .file_bytes = {5, 4}, .parameter_bytes = {}};
  EXPECT_THAT(out.files(sizes, {"report.json"}), ElementsAre("small.Q4_0.report.json", second, first));
  EXPECT_EQ(out.model(sizes), "a/" + first);
  EXPECT_EQ(companion_of("a/" + second, "report.json"), out.place_of("report.json"));
}

TEST(ModelOutput, TheNameOfAFileSaysItsFormat) {
  EXPECT_EQ(ModelOutput("small.gguf").format(""), "gguf");
  EXPECT_EQ(ModelOutput("small.gguf").format("gguf"), "gguf");
  EXPECT_EQ(ModelOutput("small").format(""), "");
  EXPECT_EQ(ModelOutput("small").format("hf"), "hf");
  EXPECT_THAT(message_of([] { ModelOutput("small.gguf").format("hf"); }), HasSubstr("cannot be of format hf"));
  EXPECT_THAT(message_of([] { ModelOutput("a/m-00001-of-00002.gguf"); }), HasSubstr("Give -o a/m.gguf"));
}

TEST(ExportSizes, SayEachFile) {
  const ExportSizes one{.weight_bytes = 9, .file_names = {"m.gguf"}, .file_bytes = {9}, .parameter_bytes = {}};
  EXPECT_THAT(one.lines(), ElementsAre("9 bytes: m.gguf"));
  const ExportSizes two{.weight_bytes = 108, .file_names = {"a", "b"}, .file_bytes = {100, 8}, .parameter_bytes = {}};
  EXPECT_THAT(two.lines(), ElementsAre("108 bytes in 2 files", "100 bytes: a", "  8 bytes: b"));
}

}  // namespace
}  // namespace pare
