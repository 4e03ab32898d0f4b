#include "pare/io/safetensors.h"

#include <gmock/gmock.h>

#include "pare/io/safetensors_writer.h"
#include "pare/io/test_files.h"

namespace pare {
namespace {

using testing::HasSubstr;

std::string file_of(const std::string& header, const std::string& data) {
  return raw<uint64_t>(header.size()) + header + data;
}
SafetensorsHeader parse(const std::string& file) {
  return parse_safetensors_header(bytes_of(file), "f");
}

// formats.md, test vector: a F32[2] = [1, -2], b I8[3] = [1, -1, 127]
const std::string kHeader =
    R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"I8","shape":[3],"data_offsets":[8,11]}})";
const std::string kData("\x00\x00\x80\x3f\x00\x00\x00\xc0\x01\xff\x7f", 11);

TEST(Safetensors, ReadsTheTestVector) {
  const auto header = parse(file_of(kHeader + "     ", kData));
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[0].dtype, Dtype::f32);
  EXPECT_EQ(header.tensors[1].bytes(), 3u);
  EXPECT_EQ(header.data_begin, 120u);
}

TEST(Safetensors, RankZeroAndEmptyTensorsAreLegal) {
  const auto header = parse(file_of(
      R"({"s":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"e":{"dtype":"F32","shape":[0,4],"data_offsets":[1,1]}})",
      "x"));
  EXPECT_EQ(header.tensors.size(), 2u);
}

TEST(Safetensors, ListsTypesThatItDoesNotLoad) {
  const auto header = parse(file_of(R"({"q":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}})", "ab"));
  EXPECT_FALSE(header.tensors[0].dtype.has_value());
  EXPECT_EQ(header.tensors[0].dtype_name, "F4");
}

struct Malformed {
  const char* name;
  std::string file;
  const char* message;
};

std::string one(const std::string& fields, const std::string& data = "12345678") {
  return file_of("{\"t\":{" + fields + "}}", data);
}

std::vector<Malformed> malformed() {
  const std::string ok = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  return {
      {"empty file", "", "at least 8"},
      {"seven bytes", "1234567", "at least 8"},
      {"header of 2^63", raw<uint64_t>(1ull << 63) + "{}", "at most 100,000,000"},
      {"header of 100,000,001", raw<uint64_t>(100'000'001) + "{}", "at most 100,000,000"},
      {"header longer than the file", raw<uint64_t>(124) + kHeader, "Download cut short"},
      {"header of no bytes", raw<uint64_t>(0), "does not begin with {"},
      {"header is an array", file_of("[]", ""), "does not begin with {"},
      {"header begins with a space", file_of(" {}", ""), "does not begin with {"},
      {"a zip file", "PK\x03\x04 and so on, long enough", "at most 100,000,000"},
      {"not UTF-8", file_of("{\"\xff\":1}", ""), "not valid UTF-8"},
      {"overlong UTF-8", file_of("{\"\xc0\x80\":1}", ""), "not valid UTF-8"},
      {"surrogate in UTF-8", file_of("{\"\xed\xa0\x80\":1}", ""), "not valid UTF-8"},
      {"unclosed", file_of("{\"t\":{", ""), "not valid JSON"},
      {"text after the object", file_of("{} x", ""), "not valid JSON"},
      {"ten thousand brackets", file_of("{\"t\":" + std::string(10000, '['), ""), "array"},
      {"deep objects", file_of(R"({"t":{"dtype":{"a":{}}}})", ""), "an object"},
      {"tensor is a number", file_of(R"({"t":5})", ""), "a number"},
      {"tensor is a string", file_of(R"({"t":"x"})", ""), "a string"},
      {"tensor is null", file_of(R"({"t":null})", ""), "null"},
      {"tensor is an array", file_of(R"({"t":[1]})", ""), "array"},
      {"duplicate tensor", file_of("{\"t\":{" + ok + "},\"t\":{" + ok + "}}", "12345678"), "appears twice"},
      {"duplicate field", one(R"("dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8])"), "appears twice"},
      {"unknown field", one(ok + ",\"x\":[1]"), "unknown key"},
      {"no dtype", one(R"("shape":[2],"data_offsets":[0,8])"), "no dtype"},
      {"no shape", one(R"("dtype":"F32","data_offsets":[0,8])"), "no shape"},
      {"no offsets", one(R"("dtype":"F32","shape":[2])"), "no data_offsets"},
      {"unknown dtype", one(R"("dtype":"F33","shape":[2],"data_offsets":[0,8])"), "unknown dtype"},
      {"dtype is a number", one(R"("dtype":32,"shape":[2],"data_offsets":[0,8])"), "a number"},
      {"shape is a string", one(R"("dtype":"F32","shape":"2","data_offsets":[0,8])"), "a string"},
      {"negative dimension", one(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), "negative"},
      {"fractional dimension", one(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), "2.0"},
      {"exponent in an offset", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8e0])"), "8e0"},
      {"offset of 2^64", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616])"),
       "18446744073709551616"},
      {"offset of 2^63", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775808])"),
       "larger than any file"},
      {"true in the shape", one(R"("dtype":"F32","shape":[true],"data_offsets":[0,8])"), "true or false"},
      {"array in the shape", one(R"("dtype":"F32","shape":[[2]],"data_offsets":[0,8])"), "an array"},
      {"seventeen dimensions", one(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],"data_offsets":[0,8])"),
       "more than 16"},
      {"one offset", one(R"("dtype":"F32","shape":[2],"data_offsets":[8])"), "begin and end"},
      {"three offsets", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4,8])"), "begin and end"},
      {"offsets swapped", one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), "before they begin"},
      {"shape too large for its bytes", one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), "make 12 bytes"},
      {"product overflows", one(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8])"), "64 bits"},
      {"product overflows beside a zero",
       one(R"("dtype":"F32","shape":[4611686018427387904,4,0],"data_offsets":[0,0])", ""), "64 bits"},
      {"bits overflow", one(R"("dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,8])"), "64 bits"},
      {"half a byte", one(R"("dtype":"F4","shape":[3],"data_offsets":[0,1])"), "whole bytes"},
      {"hole at the start", one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), "belong to no tensor"},
      {"hole between",
       file_of(
           R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})",
           "12345"),
       "belong to no tensor"},
      {"overlap",
       file_of(
           R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]}})",
           "12345"),
       "overlaps"},
      {"one byte too few", file_of(kHeader, kData.substr(1)), "Download cut short"},
      {"one byte too many", file_of(kHeader, kData + "x"), "after the last tensor"},
      {"data without tensors", file_of("{}", "x"), "after the last tensor"},
      {"metadata is a string", file_of(R"({"__metadata__":"x"})", ""), "a string"},
      {"metadata holds a number", file_of(R"({"__metadata__":{"a":1}})", ""), "a number"},
      {"metadata holds an object", file_of(R"({"__metadata__":{"a":{}}})", ""), "an object"},
      {"metadata twice", file_of(R"({"__metadata__":{},"__metadata__":{}})", ""), "appears twice"},
      {"name of 5000 bytes", file_of("{\"" + std::string(5000, 'x') + "\":{" + ok + "}}", "12345678"), "at most 4096"},
  };
}

TEST(Safetensors, EachKindOfDamageHasItsMessage) {
  for (const Malformed& item : malformed()) {
    SCOPED_TRACE(item.name);
    EXPECT_THAT(message_of([&] { parse(item.file); }), HasSubstr(item.message));
  }
  EXPECT_GE(malformed().size(), 40u);
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string whole = file_of(kHeader, kData);
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THROW(parse(whole.substr(0, length)), InputError) << length;
  }
}

TEST(Safetensors, EveryBitFlipIsRefusedOrStaysWithinTheFile) {
  const std::string whole = file_of(kHeader, kData);
  for (size_t bit = 0; bit < 8 * (8 + kHeader.size()); ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    try {
      const auto header = parse(flipped);
      for (const auto& tensor : header.tensors) EXPECT_LE(header.data_begin + tensor.end, whole.size()) << bit;
    } catch (const Error&) {
    }
  }
}

TEST(SafetensorsWriter, WhatIsWrittenReadsBack) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "m.safetensors";
  const std::vector<TensorSpec> tensors{{"b", Dtype::f32, {2, 2}}, {"a", Dtype::u8, {3}}, {"empty", Dtype::f16, {0}}};
  SafetensorsWriter writer(path, tensors, {{"key", "value \"quoted\""}});
  writer.write("a", bytes_of("xyz"));
  writer.write("b", bytes_of(std::string(16, 'b')));
  writer.write("empty", {});
  writer.finish();
  EXPECT_EQ(std::filesystem::file_size(path), safetensors_file_bytes(tensors, {{"key", "value \"quoted\""}}));
  const auto file = SafetensorsFile::open(path);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("key"), "value \"quoted\"");
  ASSERT_NE(file.find("a"), nullptr);
  EXPECT_EQ(static_cast<char>(file.bytes(*file.find("a"))[2]), 'z');
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.bytes(*file.find("b")).data()) % 64, 0u);
}

TEST(SafetensorsWriter, AnUnfinishedFileIsRemoved) {
  const TemporaryFolder folder;
  { const SafetensorsWriter writer(folder.path() / "m.safetensors", {{"a", Dtype::u8, {3}}}); }
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "m.safetensors"));
}

TEST(SafetensorsWriter, ADiskTooSmallIsSaidAtOnce) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "m.safetensors";
  const std::string message = message_of([&] { SafetensorsWriter(path, {{"a", Dtype::u8, {int64_t{1} << 52}}}); });
  EXPECT_THAT(message, HasSubstr("m.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(SafetensorsFile, AFileThatShrankIsAnErrorAndNoCrash) {
  const TemporaryFolder folder;
  const auto path = folder.write("m.safetensors", file_of(kHeader, kData));
  const auto file = SafetensorsFile::open(path);
  std::filesystem::resize_file(path, 20);
  EXPECT_THAT(message_of([&] { file.bytes(*file.find("a")); }), HasSubstr("shorter now"));
}

}  // namespace
}  // namespace pare
