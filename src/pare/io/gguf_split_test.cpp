#include "pare/io/gguf_split.h"

#include <gmock/gmock.h>

#include "pare/base/part_name.h"
#include "pare/io/test_files.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

using Tensors = std::vector<std::string>;  // names, each of four floats

void write_gguf(const fs::path& path, const GgufMetadata& metadata, const Tensors& names) {
  std::vector<GgufTensorSpec> tensors;
  for (const std::string& name : names) tensors.push_back({name, ggml_type_named("F32"), {4}});
  GgufWriter writer(path, metadata, tensors);
  for (const std::string& name : names) writer.write(name, bytes_of(std::string(16, name[0])));
  writer.finish();
}

struct Part {
  uint64_t number = 0, count = 3;
  int64_t tensors = 4;
  Tensors names;
  GgufMetadata more = {};

  GgufMetadata metadata() const {
    GgufMetadata all = more;
    all.insert(all.end(), {{"split.no", number}, {"split.count", count}, {"split.tensors.count", tensors}});
    return all;
  }
};

class GgufSplit : public testing::Test {
 protected:
  fs::path place(int number) const { return folder_.path() / (part_stem("m", number, 3) + ".gguf"); }
  void write(int number, const Part& part) const { write_gguf(place(number), part.metadata(), part.names); }
  void write_all() const {
    write(1, {.number = 0, .names = {"a", "b"}, .more = {{"general.name", std::string("small")}}});
    write(2, {.number = 1, .names = {"c"}});
    write(3, {.number = 2, .names = {"d"}});
  }

  TemporaryFolder folder_;
};

TEST_F(GgufSplit, AnyPartOpensAll) {
  write_all();
  for (int number : {1, 2, 3}) {
    SCOPED_TRACE(number);
    const auto parts = GgufParts::open(place(number));
    EXPECT_EQ(parts.files().size(), 3u);
    EXPECT_EQ(parts.first().path(), place(1));
    EXPECT_EQ(parts.first().text("general.name"), "small");
    ASSERT_NE(parts.find("c"), nullptr);
    EXPECT_EQ(parts.file_of("c")->path(), place(2));
    EXPECT_EQ(static_cast<char>(parts.file_of("d")->bytes(*parts.find("d"))[0]), 'd');
    EXPECT_EQ(parts.find("e"), nullptr);
  }
}

TEST_F(GgufSplit, AWholeFileIsAModelOfOnePart) {
  const fs::path path = folder_.path() / "m.gguf";
  for (const uint64_t count : {0, 1}) {  // gguf-split --merge leaves 0
    write_gguf(path, Part{.count = count, .names = {"a"}}.metadata(), {"a"});
    EXPECT_EQ(GgufParts::open(path).files().size(), 1u);
  }
  write_gguf(folder_.path() / "m-00001-of-00001.gguf", Part{.count = 1, .names = {"a"}}.metadata(), {"a"});
  EXPECT_NE(GgufParts::open(folder_.path() / "m-00001-of-00001.gguf").find("a"), nullptr);
}

TEST_F(GgufSplit, TheFirstPartMayHoldMetadataAlone) {
  write(1, {.number = 0, .tensors = 2, .names = {}});
  write(2, {.number = 1, .tensors = 2, .names = {"a"}});
  write(3, {.number = 2, .tensors = 2, .names = {"b"}});
  EXPECT_EQ(GgufParts::open(place(1)).file_of("b")->path(), place(3));
}

TEST_F(GgufSplit, EachKindOfDamageHasItsMessage) {
  struct Malformed {
    const char* name;
    std::function<void()> damage;
    std::vector<std::string> words;  // the file first
  };
  const auto one = [](int number) { return part_stem("m", number, 3) + ".gguf: "; };
  const GgufMetadata none;
  const std::vector<Malformed> list = {
      {"second part missing", [&] { fs::remove(place(2)); }, {one(2) + "missing, part 2 of 3"}},
      {"last part missing", [&] { fs::remove(place(3)); }, {one(3) + "missing, part 3 of 3"}},
      {"a part that is no GGUF",
       [&] { folder_.write(place(2).filename().string(), "GGUX"); },
       {one(2) + "does not begin"}},
      {"a part that is cut short",
       [&] { fs::resize_file(place(3), fs::file_size(place(3)) - 20); },
       {one(3), "cut short"}},
      {"a part without split.count", [&] { write_gguf(place(2), none, {"c"}); }, {one(2) + "no split.count"}},
      {"a part of fewer",
       [&] { write(2, {.number = 1, .count = 2, .names = {"c"}}); },
       {one(2) + "split.count is 2", "it is 3", "another model?"}},
      {"a part that is whole",
       [&] { write(2, {.number = 1, .count = 0, .names = {"c"}}); },
       {one(2) + "split.count is 0"}},
      {"a part of more tensors",
       [&] { write(3, {.number = 2, .tensors = 5, .names = {"d"}}); },
       {one(3) + "split.tensors.count is 5", "it is 4", "another model?"}},
      {"a part of another architecture",
       [&] {
         write(1, {.number = 0, .names = {"a", "b"}, .more = {{"general.architecture", std::string("llama")}}});
         write(2, {.number = 1, .names = {"c"}, .more = {{"general.architecture", std::string("qwen2")}}});
       },
       {one(2) + "general.architecture is qwen2", "it is llama"}},
      {"a part of another name",
       [&] {
         write(2, {.number = 1, .names = {"c"}, .more = {{"general.name", std::string("large")}}});
       },
       {one(2) + "general.name is large", "it is small"}},
      {"two parts swapped",
       [&] {
         fs::rename(place(2), folder_.path() / "x");
         fs::rename(place(3), place(2));
         fs::rename(folder_.path() / "x", place(3));
       },
       {one(2) + "is named part 2 of 3, and its split.no says part 3", "renamed?"}},
      {"the first part twice",
       [&] { fs::copy_file(place(1), place(2), fs::copy_options::overwrite_existing); },
       {one(2) + "is named part 2 of 3, and its split.no says part 1"}},
      {"the second part as first",
       [&] { fs::copy_file(place(2), place(1), fs::copy_options::overwrite_existing); },
       {one(1) + "is named part 1 of 3, and its split.no says part 2"}},
      {"a tensor in two parts",
       [&] { write(3, {.number = 2, .names = {"a"}}); },
       {one(3) + "tensor a is in m-00001-of-00003.gguf, too"}},
      {"a tensor too few", [&] { write(3, {.number = 2, .names = {}}); }, {one(1), "has 4 tensors", "hold 3"}},
      {"a tensor too many",
       [&] {
         write(3, {.number = 2, .names = {"d", "e"}});
       },
       {one(1), "has 4 tensors", "hold 5"}},
      {"the name says fewer",
       [&] {
         write(1, {.number = 0, .count = 4, .names = {"a", "b"}});
       },
       {one(1) + "is named part 1 of 3, and its split.count is 4"}},
      {"the name says parts, the file none",
       [&] { write_gguf(place(1), none, {"a"}); },
       {one(1) + "is named part 1 of 3, and has no split.count", "another name"}},
      {"no split.no",
       [&] {
         write_gguf(place(2), {{"split.count", uint64_t{3}}, {"split.tensors.count", int64_t{4}}}, {"c"});
       },
       {one(2) + "no split.no"}},
      {"no split.tensors.count",
       [&] {
         write_gguf(place(2), {{"split.count", uint64_t{3}}, {"split.no", uint64_t{1}}}, {"c"});
       },
       {one(2) + "no split.tensors.count"}},
      {"no split.tensors.count in the first",
       [&] {
         write_gguf(place(1), {{"split.count", uint64_t{3}}, {"split.no", uint64_t{0}}}, {"a", "b"});
       },
       {one(1) + "no split.tensors.count"}},
      {"split.tensors.count is a text",
       [&] {
         write_gguf(
             place(1),
             {{"split.count", uint64_t{3}}, {"split.no", uint64_t{0}}, {"split.tensors.count", std::string("4")}},
             {"a", "b"});
       },
       {one(1) + "split.tensors.count is not an integer"}},
  };
  for (const Malformed& item : list) {
    SCOPED_TRACE(item.name);
    write_all();
    item.damage();
    const std::string message = message_of([&] { GgufParts::open(place(1)); });
    for (const std::string& word : item.words) EXPECT_THAT(message, HasSubstr(word));
  }
}

TEST_F(GgufSplit, PartsThatAreNotNamedSoAreRefused) {
  write_all();
  fs::rename(place(1), folder_.path() / "model.gguf");
  EXPECT_THAT(
      message_of([&] { GgufParts::open(folder_.path() / "model.gguf"); }),
      HasSubstr("model.gguf: is one of 3 parts (split.count), which are found by their names: NAME-00001-of-00003"));
  EXPECT_THAT(message_of([&] { GgufParts::open(place(2)); }),
              HasSubstr("m-00001-of-00003.gguf: missing, the first part of the model that m-00002-of-00003.gguf is"));
}

// --- writing

std::vector<GgufTensorSpec> of_sizes(const std::vector<int64_t>& floats) {
  std::vector<GgufTensorSpec> tensors;
  for (size_t i = 0; i < floats.size(); ++i) {
    tensors.push_back({"t" + std::to_string(i), ggml_type_named("F32"), {floats[i]}});
  }
  return tensors;
}

std::vector<size_t> tensors_in(const std::vector<GgufPart>& parts) {
  std::vector<size_t> counts;
  for (const GgufPart& part : parts) counts.push_back(part.tensors.size());
  return counts;
}

const GgufMetadata kMetadata{{"general.architecture", std::string("llama")}, {"text", std::string(100, 'x')}};

TEST(SplitGguf, AllInOneFileWhereItFits) {
  const auto tensors = of_sizes({100, 100});
  const uint64_t whole = gguf_file_bytes(kMetadata, tensors);
  for (const uint64_t most : {uint64_t{0}, whole, whole + 1}) {
    const auto parts = split_gguf("m", kMetadata, tensors, most);
    ASSERT_EQ(parts.size(), 1u);
    EXPECT_EQ(parts[0].file_name, "m.gguf");
    EXPECT_EQ(parts[0].metadata.size(), kMetadata.size());
  }
  EXPECT_EQ(split_gguf("m", kMetadata, tensors, whole - 1).size(), 2u);
}

TEST(SplitGguf, NoPartIsLargerThanAskedAndALargeTensorIsAlone) {
  const auto tensors = of_sizes({100, 100, 100, 1000, 10, 10, 250, 1});
  const auto parts = split_gguf("m", kMetadata, tensors, 1500);
  EXPECT_THAT(tensors_in(parts), ElementsAre(2, 1, 1, 4));
  for (const GgufPart& part : parts) {
    const uint64_t bytes = gguf_file_bytes(part.metadata, part.tensors);
    EXPECT_TRUE(bytes <= 1500 || part.tensors.size() == 1) << part.file_name << " " << bytes;
  }
  EXPECT_EQ(parts[3].file_name, "m-00004-of-00004.gguf");
}

TEST(SplitGguf, ALargeFirstTensorLeavesTheMetadataAlone) {
  EXPECT_THAT(tensors_in(split_gguf("m", kMetadata, of_sizes({1000, 10}), 1500)), ElementsAre(0, 1, 1));
}

TEST(SplitGguf, RefusesASizeThatTheMetadataDoNotFit) {
  EXPECT_THAT(message_of([] { split_gguf("m", kMetadata, of_sizes({10}), 100); }),
              HasSubstr("metadata are in the first"));
  EXPECT_THAT(message_of([] { split_gguf("m", kMetadata, of_sizes(std::vector<int64_t>(70000, 100)), 512); }),
              HasSubstr("more than the 65535"));
}

TEST(SplitGguf, WhatIsWrittenOpensAsOne) {
  const TemporaryFolder folder;
  const auto tensors = of_sizes({100, 100, 100, 1000, 10});
  const auto parts = split_gguf("m", kMetadata, tensors, 1500);
  for (const GgufPart& part : parts) {
    GgufWriter writer(folder.path() / part.file_name, part.metadata, part.tensors);
    for (const GgufTensorSpec& tensor : part.tensors) {
      writer.write(tensor.name, bytes_of(std::string(static_cast<size_t>(tensor.shape[0]) * 4, tensor.name[1])));
    }
    writer.finish();
    EXPECT_EQ(fs::file_size(folder.path() / part.file_name), gguf_file_bytes(part.metadata, part.tensors));
  }
  const auto model = GgufParts::open(folder.path() / parts[0].file_name);
  EXPECT_EQ(model.files().size(), parts.size());
  EXPECT_EQ(model.first().text("general.architecture"), "llama");
  EXPECT_FALSE(model.files()[1].has("general.architecture"));
  EXPECT_EQ(static_cast<char>(model.file_of("t3")->bytes(*model.find("t3"))[3999]), '3');
  // the widths that llama.cpp insists on: u16 (2) for the number and the count, i32 (5) for the tensors
  const std::string second = read_whole(folder.path() / parts[1].file_name);
  const std::string count = raw<uint16_t>(static_cast<uint16_t>(parts.size()));
  EXPECT_THAT(second, HasSubstr("split.no" + raw<uint32_t>(2) + raw<uint16_t>(1)));
  EXPECT_THAT(second, HasSubstr("split.count" + raw<uint32_t>(2) + count));
  EXPECT_THAT(second, HasSubstr("split.tensors.count" + raw<uint32_t>(5) + raw<int32_t>(5)));
}

}  // namespace
}  // namespace pare
