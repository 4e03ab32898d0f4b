#include "pare/io/gguf.h"

#include <gmock/gmock.h>

#include "pare/io/gguf_writer.h"
#include "pare/io/test_files.h"

namespace pare {
namespace {

using testing::HasSubstr;

std::string text(const std::string& value) {
  return raw<uint64_t>(value.size()) + value;
}
std::string pair(const std::string& key, uint32_t type, const std::string& value) {
  return text(key) + raw(type) + value;
}
std::string tensor(const std::string& name, std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
  std::string bytes = text(name) + raw<uint32_t>(static_cast<uint32_t>(dims.size()));
  for (uint64_t dim : dims) bytes += raw(dim);
  return bytes + raw(type) + raw(offset);
}
std::string head(uint64_t tensors, uint64_t pairs, uint32_t version = 3) {
  return "GGUF" + raw(version) + raw(tensors) + raw(pairs);
}
// Pads the metadata to 32 bytes and adds `data` bytes of zeros.
std::string with_data(std::string metadata, size_t data) {
  metadata.resize((metadata.size() + 31) / 32 * 32);
  return metadata + std::string(data, '\0');
}
GgufHeader parse(const std::string& file) {
  return parse_gguf_header(bytes_of(file), "f");
}

// formats.md §3.1
std::string test_vector() {
  std::string file = head(1, 1) + pair("general.architecture", 8, text("llama")) + tensor("t", {4}, 0, 0);
  EXPECT_EQ(file.size(), 102u);
  return with_data(file, 16);
}

TEST(Gguf, ReadsTheTestVector) {
  const auto header = parse(test_vector());
  EXPECT_EQ(header.data_begin, 128u);
  ASSERT_EQ(header.tensors.size(), 1u);
  EXPECT_EQ(header.tensors[0].bytes, 16u);
  EXPECT_EQ(std::get<std::string>(header.metadata.at("general.architecture")), "llama");
}

TEST(Gguf, ReadsEveryKindOfValue) {
  const std::string file =
      head(0, 13) + pair("a", 0, raw<uint8_t>(200)) + pair("b", 1, raw<int8_t>(-5)) +
      pair("c", 2, raw<uint16_t>(60000)) + pair("d", 3, raw<int16_t>(-300)) + pair("e", 4, raw<uint32_t>(4000000000u)) +
      pair("f", 5, raw<int32_t>(-70000)) + pair("g", 6, raw(1.5f)) + pair("h", 7, raw<uint8_t>(1)) +
      pair("i", 8, text("x")) + pair("j", 9, raw<uint32_t>(8) + raw<uint64_t>(2) + text("p") + text("")) +
      pair("k", 10, raw<uint64_t>(1ull << 63)) + pair("l", 11, raw<int64_t>(-1)) + pair("m", 12, raw(2.5));
  const auto metadata = parse(file).metadata;
  EXPECT_EQ(std::get<uint64_t>(metadata.at("a")), 200u);
  EXPECT_EQ(std::get<int64_t>(metadata.at("b")), -5);
  EXPECT_EQ(std::get<int64_t>(metadata.at("f")), -70000);
  EXPECT_EQ(std::get<double>(metadata.at("g")), 1.5);
  EXPECT_TRUE(std::get<bool>(metadata.at("h")));
  EXPECT_EQ(std::get<std::vector<std::string>>(std::get<GgufArray>(metadata.at("j")).items).size(), 2u);
  EXPECT_EQ(std::get<uint64_t>(metadata.at("k")), 1ull << 63);
}

struct Malformed {
  std::string name, file;
  const char* message;
};

std::vector<Malformed> malformed() {
  const auto one = [](const std::string& info, size_t data = 64) { return with_data(head(1, 0) + info, data); };
  const auto kv = [](const std::string& bytes) { return head(0, 1) + bytes; };
  std::vector<Malformed> list{
      {"empty", "", "does not begin with"},
      {"three bytes", "GGU", "does not begin with"},
      {"another magic", "GGML" + std::string(40, '\0'), "does not begin with"},
      {"magic alone", "GGUF", "the file ends within the version"},
      {"version 1", head(0, 0, 1), "version 1"},
      {"version 0", head(0, 0, 0), "version 0"},
      {"version 4", head(0, 0, 4), "version 4"},
      {"big-endian", head(0, 0, 0x03000000), "big-endian"},
      {"no counts", std::string("GGUF") + raw<uint32_t>(3), "number of tensors"},
      {"2^63 tensors", head(1ull << 63, 0), "tensors do not fit"},
      {"one tensor too many", with_data(head(2, 0) + tensor("t", {4}, 0, 0), 0).substr(0, 60), "tensors do not fit"},
      {"2^63 metadata entries", head(0, 1ull << 63), "metadata entries do not fit"},
      {"one metadata entry and no bytes", head(0, 1), "metadata entries do not fit"},
      {"key of 2^63 bytes", kv(raw<uint64_t>(1ull << 63) + std::string(20, 'k')), "at most 65535"},
      {"key longer than the file", kv(raw<uint64_t>(60000) + std::string(20, 'k')), "left. Download cut short"},
      {"empty key", kv(pair("", 4, raw<uint32_t>(1))), "key is empty"},
      {"key twice", head(0, 2) + pair("a", 4, raw<uint32_t>(1)) + pair("a", 4, raw<uint32_t>(1)), "appears twice"},
      {"unknown value type", kv(pair("a", 13, raw<uint64_t>(1))), "unknown type 13"},
      {"value cut off", kv(pair("aaaaa", 10, raw<uint32_t>(1))), "ends within aaaaa"},
      {"bool of 2", kv(pair("aaaa", 7, raw<uint8_t>(2))), "is a bool with the value 2"},
      {"string of 2^40", kv(pair("a", 8, raw<uint64_t>(1ull << 40) + "x")), "at most 1073741824"},
      {"string longer than the file", kv(pair("a", 8, raw<uint64_t>(1000) + "x")), "left. Download cut short"},
      {"array of 2^61 floats", kv(pair("a", 9, raw<uint32_t>(6) + raw<uint64_t>(1ull << 61))), "elements"},
      {"array of 2^63 bools", kv(pair("a", 9, raw<uint32_t>(7) + raw<uint64_t>(1ull << 63))), "elements"},
      {"array longer than the file", kv(pair("a", 9, raw<uint32_t>(4) + raw<uint64_t>(3) + raw<uint64_t>(0))),
       "elements"},
      {"array of short strings that are not there",
       kv(pair("a", 9, raw<uint32_t>(8) + raw<uint64_t>(2) + text("") + raw<uint64_t>(9))), "left. Download cut short"},
      {"array of arrays", kv(pair("a", 9, raw<uint32_t>(9) + raw<uint64_t>(1) + raw<uint32_t>(4) + raw<uint64_t>(0))),
       "array of arrays"},
      {"array of unknown type", kv(pair("a", 9, raw<uint32_t>(77) + raw<uint64_t>(1) + raw<uint64_t>(0))),
       "unknown type 77"},
      {"array of bools with a 3", kv(pair("a", 9, raw<uint32_t>(7) + raw<uint64_t>(2) + "\x01\x03")), "value 3"},
      {"array type cut off", kv(pair("abcdef", 9, "xy")), "element type"},
      {"no tensor name", one(tensor("", {4}, 0, 0)), "has no name"},
      {"tensor name of 2000 bytes", one(tensor(std::string(2000, 'n'), {4}, 0, 0)), "at most 1024"},
      {"tensor twice", with_data(head(2, 0) + tensor("t", {8}, 0, 0) + tensor("t", {8}, 0, 32), 64), "appears twice"},
      {"rank 5", one(tensor("t", {1, 1, 1, 1, 1}, 0, 0)), "rank 5"},
      {"rank 2^31", one(text("t") + raw<uint32_t>(1u << 31) + std::string(40, '\0')), "rank 2147483648"},
      {"dimension 0", one(tensor("t", {0}, 0, 0)), "is zero"},
      {"second dimension 0", one(tensor("t", {4, 0}, 0, 0)), "is zero"},
      {"dimension 2^63", one(tensor("t", {1ull << 63}, 0, 0)), "63 bits"},
      {"product of 2^64", one(tensor("t", {1ull << 32, 1ull << 32}, 0, 0)), "64 bits"},
      {"product wraps to small", one(tensor("t", {(1ull << 62) + 1, 4}, 0, 0)), "64 bits"},
      {"bytes wrap", one(tensor("t", {1ull << 62}, 0, 0)), "64 bits"},
      {"unknown type", one(tensor("t", {32}, 99, 0)), "retired type 99"},
      {"retired type 4", one(tensor("t", {32}, 4, 0)), "retired type 4"},
      {"retired type 31", one(tensor("t", {32}, 31, 0)), "retired type 31"},
      {"row of 33 in blocks of 32", one(tensor("t", {33}, 2, 0)), "whole blocks of 32"},
      {"row of 32 in blocks of 256", one(tensor("t", {32}, 12, 0)), "whole blocks of 256"},
      {"first offset not 0", one(tensor("t", {4}, 0, 32)), "offset 32"},
      {"unaligned offset", with_data(head(2, 0) + tensor("a", {4}, 0, 0) + tensor("b", {4}, 0, 16), 64), "offset 16"},
      {"overlapping offsets", with_data(head(2, 0) + tensor("a", {16}, 0, 0) + tensor("b", {4}, 0, 32), 128),
       "offset 32"},
      {"gap", with_data(head(2, 0) + tensor("a", {4}, 0, 0) + tensor("b", {4}, 0, 64), 128), "offset 64"},
      {"offset near 2^64", one(tensor("t", {4}, 0, ~0ull - 3)), "offset"},
      {"no data", with_data(head(1, 0) + tensor("t", {4}, 0, 0), 0), "Download cut short"},
      {"data one byte short", with_data(head(1, 0) + tensor("t", {4}, 0, 0), 15), "Download cut short"},
      {"ends before the data section", head(1, 0) + tensor("ttt", {4}, 0, 0), "before its data section"},
      {"huge tensor", one(tensor("t", {1ull << 40}, 0, 0)), "Download cut short"},
  };
  const std::pair<const char*, std::pair<uint32_t, std::string>> alignments[] = {
      {"alignment 0", {4, raw<uint32_t>(0)}},           {"alignment 1", {4, raw<uint32_t>(1)}},
      {"alignment 4", {4, raw<uint32_t>(4)}},           {"alignment 33", {4, raw<uint32_t>(33)}},
      {"alignment 2^30", {4, raw<uint32_t>(1u << 30)}}, {"alignment 2^63", {10, raw<uint64_t>(1ull << 63)}},
  };
  for (const auto& [name, value] : alignments)
    list.push_back({name, kv(pair("general.alignment", value.first, value.second)), "power of two"});
  list.push_back({"alignment is a string", kv(pair("general.alignment", 8, text("32"))), "not an unsigned integer"});
  list.push_back(
      {"alignment is signed", kv(pair("general.alignment", 5, raw<int32_t>(32))), "not an unsigned integer"});
  return list;
}

TEST(Gguf, EachKindOfDamageHasItsMessage) {
  const auto list = malformed();
  for (const Malformed& item : list) {
    SCOPED_TRACE(item.name);
    EXPECT_THAT(message_of([&] { parse(item.file); }), HasSubstr(item.message));
  }
  EXPECT_GE(list.size(), 60u);
}

TEST(Gguf, EveryTruncationIsRefused) {
  const std::string whole = test_vector();
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_THROW(parse(whole.substr(0, length)), Error) << length;
}

TEST(Gguf, EveryBitFlipIsRefusedOrStaysWithinTheFile) {
  const std::string whole = test_vector();
  for (size_t bit = 0; bit < 8 * 128; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    try {
      const auto header = parse(flipped);
      for (const auto& item : header.tensors)
        EXPECT_LE(header.data_begin + item.offset + item.bytes, whole.size()) << bit;
    } catch (const Error&) {
    }
  }
}

TEST(GgufWriter, WhatIsWrittenReadsBack) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "m.gguf";
  const GgufMetadata metadata{{"general.architecture", std::string("llama")},
                              {"n", uint64_t{7}},
                              {"big", uint64_t{1} << 40},
                              {"negative", int64_t{-2}},
                              {"eps", 0.5},
                              {"flag", true},
                              {"tokens", GgufArray{std::vector<std::string>{"a", "b\xc4\xa0"}}},
                              {"scores", GgufArray{std::vector<double>{0.25, -1}}},
                              {"types", GgufArray{std::vector<int64_t>{1, 3}}}};
  const std::vector<GgufTensorSpec> tensors{{"q", ggml_type_named("Q4_0"), {2, 32}},
                                            {"v", ggml_type_named("F32"), {3}}};
  GgufWriter writer(path, metadata, tensors);
  writer.write("v", bytes_of(std::string(12, 'v')));
  writer.write("q", bytes_of(std::string(36, 'q')));
  writer.finish();
  EXPECT_EQ(std::filesystem::file_size(path), gguf_file_bytes(metadata, tensors));
  const auto file = GgufFile::open(path);
  EXPECT_EQ(file.text("general.architecture"), "llama");
  EXPECT_EQ(file.integer("n"), 7);
  EXPECT_EQ(file.integer("big"), int64_t{1} << 40);
  EXPECT_EQ(file.integer("negative"), -2);
  EXPECT_EQ(file.number("eps"), 0.5);
  EXPECT_EQ(file.texts("tokens")[1], "b\xc4\xa0");
  EXPECT_EQ(file.find("q")->shape, (std::vector<int64_t>{2, 32}));
  EXPECT_EQ(static_cast<char>(file.bytes(*file.find("v"))[0]), 'v');
  EXPECT_THAT(message_of([&] { (void)file.text("n"); }), HasSubstr("not a string"));
  EXPECT_THAT(message_of([&] { (void)file.integer("absent"); }), HasSubstr("no absent"));
}

}  // namespace
}  // namespace pare
