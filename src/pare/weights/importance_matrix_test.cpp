#include "pare/weights/importance_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "pare/io/gguf_writer.h"
#include "pare/io/test_files.h"

namespace pare {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

ImportanceMatrix parse(const std::string& file) {
  return parse_importance_matrix(bytes_of(file), "test.imatrix");
}

// A name or a dataset, as the older format has it.
std::string text(const std::string& value) {
  return raw<int32_t>(static_cast<int32_t>(value.size())) + value;
}
std::string entry(const std::string& name, int32_t calls, const std::vector<float>& values) {
  std::string bytes = text(name) + raw(calls) + raw<int32_t>(static_cast<int32_t>(values.size()));
  for (const float value : values) bytes += raw(value);
  return bytes;
}

ImportanceMatrix example() {
  ImportanceMatrix matrix;
  matrix.entries["blk.0.attn_q.weight"] = {{1, 2, 3, 4}, {8}};
  matrix.entries["blk.0.ffn_up_exps.weight"] = {{1, 2, 3, 4, 5, 6}, {4, 0, 2}};
  matrix.datasets = {"a.txt", "b.txt"};
  matrix.chunks = 2;
  matrix.chunk_tokens = 4;
  return matrix;
}

TEST(ImportanceMatrix, TheOlderFormatIsReadWithAndWithoutWhatFollowsTheEntries) {
  const std::string entries = raw<int32_t>(2) + entry("b", 2, {1, 4}) + entry("a", 3, {9});
  const ImportanceMatrix bare = parse(entries), whole = parse(entries + raw<int32_t>(7) + text("wiki.txt"));
  for (const ImportanceMatrix& matrix : {bare, whole}) {
    ASSERT_THAT(matrix.entries, SizeIs(2));
    EXPECT_THAT(matrix.entries.at("b").means(), ElementsAre(0.5f, 2.0f));
    EXPECT_THAT(matrix.entries.at("a").means(), ElementsAre(3.0f));
  }
  EXPECT_EQ(whole.chunks, 7);
  EXPECT_THAT(whole.datasets, ElementsAre("wiki.txt"));
  EXPECT_THAT(parse(raw<int32_t>(1) + entry("a", 0, {9})).entries.at("a").means(), ElementsAre(9.0f));
}

TEST(ImportanceMatrix, WhatIsWrittenReadsBackInBothFormats) {
  const TemporaryFolder folder;
  const ImportanceMatrix matrix = example();
  write_importance_matrix(matrix, folder.path() / "m.gguf");
  const ImportanceMatrix gguf = read_importance_matrix(folder.path() / "m.gguf");
  ASSERT_THAT(gguf.entries, SizeIs(2));
  for (const auto& [name, entry] : matrix.entries) {
    EXPECT_EQ(gguf.entries.at(name).sums, entry.sums);
    EXPECT_EQ(gguf.entries.at(name).counts, entry.counts);
  }
  EXPECT_EQ(gguf.datasets, matrix.datasets);
  EXPECT_EQ(gguf.chunks, 2);
  EXPECT_EQ(gguf.chunk_tokens, 4);

  write_importance_matrix(matrix, folder.path() / "m.dat");
  const ImportanceMatrix dat = read_importance_matrix(folder.path() / "m.dat");
  EXPECT_THAT(dat.entries.at("blk.0.attn_q.weight").means(), ElementsAre(0.125f, 0.25f, 0.375f, 0.5f));
  EXPECT_THAT(dat.entries.at("blk.0.ffn_up_exps.weight").means(), ElementsAre(0.25f, 0.5f, 1, 1, 2.5f, 3));
  EXPECT_THAT(dat.datasets, ElementsAre("b.txt"));
  EXPECT_EQ(dat.chunks, 2);
}

TEST(ImportanceMatrix, TheKeysInTheFileAreThoseThatLlamaCppReads) {
  const TemporaryFolder folder;
  write_importance_matrix(example(), folder.path() / "m.gguf");
  const std::string bytes = read_whole(folder.path() / "m.gguf");
  constexpr uint32_t u32 = 4;  // gguf_get_val_u32 ends the program at any other type
  EXPECT_THAT(bytes, HasSubstr("imatrix.chunk_count" + raw(u32) + raw<uint32_t>(2)));
  EXPECT_THAT(bytes, HasSubstr("imatrix.chunk_size" + raw(u32) + raw<uint32_t>(4)));
  const GgufFile file = GgufFile::open(folder.path() / "m.gguf");
  EXPECT_EQ(file.text("general.type"), "imatrix");
  EXPECT_EQ(file.find("blk.0.ffn_up_exps.weight.in_sum2")->shape, (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(file.find("blk.0.ffn_up_exps.weight.counts")->shape, (std::vector<int64_t>{3, 1}));
}

struct GgufCase {
  GgufMetadata metadata = {{"general.type", std::string("imatrix")}};
  std::vector<GgufTensorSpec> tensors = {};
};

std::string gguf(const GgufCase& wanted) {
  const TemporaryFolder folder;
  GgufWriter writer(folder.path() / "m.gguf", wanted.metadata, wanted.tensors);
  for (const GgufTensorSpec& tensor : wanted.tensors) {
    size_t bytes = tensor.type->block_bytes;
    for (const int64_t dim : tensor.shape) bytes *= static_cast<size_t>(dim);
    writer.write(tensor.name, bytes_of(std::string(bytes, '\1')));
  }
  writer.finish();
  return read_whole(folder.path() / "m.gguf");
}

TEST(ImportanceMatrix, EachKindOfDamageHasItsMessage) {
  const GgmlType *f32 = ggml_type_named("F32"), *f16 = ggml_type_named("F16");
  const std::vector<GgufTensorSpec> good{{"a.in_sum2", f32, {4}}, {"a.counts", f32, {1}}};
  const auto with = [&](const std::string& key, const GgufValue& value) {
    return gguf({.metadata = {{"general.type", std::string("imatrix")}, {key, value}}, .tensors = good});
  };
  const std::string one = raw<int32_t>(1) + entry("a", 1, {1});
  struct Case {
    const char* name;
    std::string file;
    const char* message;
  };
  const std::vector<Case> cases{
      {"empty", "", "is empty"},
      {"three bytes", "abc", "ends within the number of entries"},
      {"no entries", raw<int32_t>(0), "the number of entries is 0"},
      {"minus one entries", raw<int32_t>(-1) + one, "the number of entries is -1"},
      {"2^31 - 1 entries", raw<int32_t>(0x7fffffff) + one, "the number of entries is 2147483647"},
      {"an archive", "PK\3\4" + std::string(40, 'z'), "no importance matrix?"},
      {"one entry too many", raw<int32_t>(2) + entry("a", 1, {1, 2, 3, 4, 5, 6}), "the length of the name of entry 2"},
      {"a name of no letters", raw<int32_t>(1) + entry("", 1, {1, 2}), "the name of entry 1 of 1 is 0"},
      {"a name of minus one letters", raw<int32_t>(1) + raw<int32_t>(-1) + std::string(20, 'a'), "is -1"},
      {"a name longer than the file", raw<int32_t>(1) + raw<int32_t>(90) + std::string(20, 'a'), "is 90"},
      {"a name with a zero byte", raw<int32_t>(1) + entry(std::string("a\0b", 3), 1, {1}), "zero byte"},
      {"a tensor twice", raw<int32_t>(2) + entry("a", 1, {1}) + entry("a", 1, {1}), "a appears twice"},
      {"minus one calls", raw<int32_t>(1) + entry("a", -1, {1}), "seen by -1 calls"},
      {"calls cut off", raw<int32_t>(1) + text("abcdefghijklm"), "ends within the calls of"},
      {"no values", raw<int32_t>(1) + entry("abcde", 1, {}), "values of abcde is 0"},
      {"minus one values", raw<int32_t>(1) + text("abcd") + raw<int32_t>(1) + raw<int32_t>(-1) + "1234", "abcd is -1"},
      {"2^31 - 1 values", raw<int32_t>(1) + text("abcd") + raw<int32_t>(1) + raw<int32_t>(0x7fffffff) + "1234",
       "abcd is 2147483647"},
      {"values cut off", raw<int32_t>(1) + entry("a", 1, {1, 2, 3}).substr(0, 20), "values of a is 3"},
      {"chunks cut off", one + "ab", "ends within the number of chunks"},
      {"minus one chunks", one + raw<int32_t>(-1), "made of -1 chunks"},
      {"a dataset longer than the file", one + raw<int32_t>(1) + raw<int32_t>(9) + "wiki", "the dataset's name is 9"},
      {"a dataset with a zero byte", one + raw<int32_t>(1) + text(std::string("a\0", 2)), "zero byte"},
      {"bytes behind the end", one + raw<int32_t>(1) + text("wiki") + "x", "1 bytes follow"},
      {"gguf cut off", gguf({.tensors = good}).substr(0, 130), "Download cut short"},
      {"gguf without tensors", gguf({}), "no importance matrix (no tensors)"},
      {"a model", gguf({.metadata = {{"general.type", std::string("model")}}, .tensors = good}),
       "general.type is model"},
      {"a model's tensor among them", gguf({.tensors = {good[0], good[1], {"output.weight", f32, {4}}}}),
       "it holds the tensor output.weight"},
      {"sums without counts", gguf({.tensors = {good[0]}}), "a has no .counts"},
      {"counts without sums", gguf({.tensors = {good[1]}}), "a has no .in_sum2"},
      {"sums in 16 bits", gguf({.tensors = {{"a.in_sum2", f16, {4}}, good[1]}}), "a.in_sum2 is F16; expected F32"},
      {"counts in 16 bits", gguf({.tensors = {good[0], {"a.counts", f16, {1}}}}), "a.counts is F16; expected F32"},
      {"experts that do not divide", gguf({.tensors = {good[0], {"a.counts", f32, {3}}}}), "4 values for 3 experts"},
      {"more experts than values", gguf({.tensors = {good[0], {"a.counts", f32, {8}}}}), "4 values for 8 experts"},
      {"no name", gguf({.tensors = {{".in_sum2", f32, {4}}, {".counts", f32, {1}}}}), "called only .in_sum2"},
      {"datasets are a text", with("imatrix.datasets", std::string("wiki")), "imatrix.datasets is no list"},
      {"datasets are numbers", with("imatrix.datasets", GgufArray{std::vector<int64_t>{1}}), "is no list of texts"},
      {"chunks are a text", with("imatrix.chunk_count", std::string("4")), "imatrix.chunk_count is no whole number"},
      {"chunks below zero", with("imatrix.chunk_count", int64_t{-4}), "imatrix.chunk_count is no whole number"},
      {"chunks of 2^40 tokens", with("imatrix.chunk_size", uint64_t{1} << 40), "imatrix.chunk_size is 1099511627776"},
  };
  for (const Case& one_case : cases) {
    SCOPED_TRACE(one_case.name);
    EXPECT_THAT(message_of([&] { parse(one_case.file); }),
                AllOf(HasSubstr("test.imatrix"), HasSubstr(one_case.message)));
  }
}

TEST(ImportanceMatrix, EveryTruncationOfTheOlderFormatIsRefusedOrEndsAfterAWholePart) {
  const std::string entries = raw<int32_t>(2) + entry("bb", 2, {1, 4}) + entry("a", 3, {9});
  const std::string whole = entries + raw<int32_t>(7) + text("wiki");
  for (size_t length = 0; length < whole.size(); ++length) {
    if (length == entries.size() || length == entries.size() + 4) continue;
    EXPECT_THROW(parse(whole.substr(0, length)), InputError) << length;
  }
}

TEST(ImportanceCheck, AMatrixOfThisModelHasNoProblems) {
  ImportanceMatrix matrix = example();
  matrix.entries["blk.0.ffn_up_exps.weight"].counts[1] = 1;
  const ImportanceCheck check = check_importance(
      matrix, {{"blk.0.attn_q.weight", 4}, {"blk.0.ffn_up_exps.weight", 2, 3}, {"token_embd.weight", 4, 1, false}});
  EXPECT_THAT(check.problems, IsEmpty());
  EXPECT_THAT(check.notes, ElementsAre(HasSubstr("token_embd.weight")));
}

TEST(ImportanceCheck, WhatManyTensorsHaveInCommonIsOneLine) {
  ImportanceMatrix matrix;
  std::vector<WeighedTensor> model;
  for (int i = 10; i < 40; ++i) {
    matrix.entries["t" + std::to_string(i)] = {{1, 2}, {1}};
    model.push_back({"t" + std::to_string(i), 3});
  }
  EXPECT_THAT(check_importance(matrix, model).problems,
              ElementsAre("values for 2 inputs where the model has 3 inputs (30 tensors): t10, t11, t12, t13, t14, "
                          "t15, t16, t17 and 22 more"));
}

TEST(ImportanceCheck, AllProblemsAreInOneList) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinite = std::numeric_limits<float>::infinity();
  ImportanceMatrix matrix;
  matrix.entries = {{"short", {{1, 2}, {1}}},
                    {"nan", {{1, nan, nan}, {1}}},
                    {"infinite", {{1, 2, infinite}, {1}}},
                    {"negative", {{-1, 2, 3}, {1}}},
                    {"zero", {{0, 0, 0}, {5}}},
                    {"unseen", {{1, 2, 3}, {0}}},
                    {"experts", {{1, 0, 3, 0}, {4, 0, 2, 0}}},
                    {"uncounted", {{1, 2, 3}, {nan}}},
                    {"other", {{1, 2, 3}, {1}}}};
  const std::vector<WeighedTensor> model{{"short", 3},  {"nan", 3},        {"infinite", 3},   {"negative", 3},
                                         {"zero", 3},   {"unseen", 3},     {"experts", 1, 4}, {"uncounted", 3},
                                         {"absent", 3}, {"also absent", 3}};
  EXPECT_THAT(
      check_importance(matrix, model).problems,
      testing::UnorderedElementsAre(
          "values for 2 inputs where the model has 3 inputs: short", "NaN where squares are summed: nan input 1",
          "an infinite sum of squares: infinite input 2", "a sum of squares below 0: negative input 0",
          "all values are 0: zero", "no token was counted: unseen",
          "experts that saw no token; calibrate on more text: experts 2 of 4 (1, 3)",
          "a count of tokens below 0 or not finite: uncounted",
          "missing, and to be rounded (2 tensors): absent, also absent", "not in this model: other"));
}

}  // namespace
}  // namespace pare
