#include "pare/io/hf_folder.h"

#include <gmock/gmock.h>

#include "pare/io/safetensors_writer.h"
#include "pare/io/test_files.h"

namespace pare {
namespace {

using testing::HasSubstr;

void write_shard(const TemporaryFolder& folder, const std::string& file, const std::string& tensor) {
  SafetensorsWriter writer(folder.path() / file, {{tensor, Dtype::u8, {1}}});
  writer.write(tensor, bytes_of("x"));
  writer.finish();
}

void index_of(const TemporaryFolder& folder, const std::string& map) {
  folder.write("model.safetensors.index.json", "{\"metadata\":{\"total_size\":2},\"weight_map\":" + map + "}");
}

std::string open_message(const TemporaryFolder& folder) {
  return message_of([&] { HfFolder::open(folder.path()); });
}

TEST(HfFolder, OpensOneFileAndCarriesTheOthersAlong) {
  const TemporaryFolder folder;
  folder.write("config.json", "{\"model_type\":\"llama\"}");
  folder.write("tokenizer.json", "{}");
  folder.write("notes/readme.txt", "x");
  write_shard(folder, "model.safetensors", "a");
  const auto model = HfFolder::open(folder.path());
  EXPECT_EQ(model.tensor_names(), std::vector<std::string>{"a"});
  EXPECT_EQ(static_cast<char>(model.bytes("a")[0]), 'x');
  EXPECT_EQ(model.other_files().size(), 2u);
  EXPECT_THROW(model.bytes("b"), InputError);
}

TEST(HfFolder, OpensShards) {
  const TemporaryFolder folder;
  folder.write("config.json", "{}");
  write_shard(folder, "model-00001-of-00002.safetensors", "a");
  write_shard(folder, "model-00002-of-00002.safetensors", "b");
  index_of(folder, R"({"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"})");
  EXPECT_EQ(HfFolder::open(folder.path()).tensor_names().size(), 2u);
}

TEST(HfFolder, EachKindOfDamageHasItsMessage) {
  EXPECT_THAT(message_of([] { HfFolder::open("/nowhere/at/all"); }), HasSubstr("no such folder"));
  {
    const TemporaryFolder folder;
    EXPECT_THAT(open_message(folder), HasSubstr("no config.json"));
    folder.write("config.json", "[1]");
    EXPECT_THAT(open_message(folder), HasSubstr("not a JSON object"));
    folder.write("config.json", "{\"a\":");
    EXPECT_THAT(open_message(folder), HasSubstr("not valid JSON"));
    folder.write("config.json", "{\"a\":1,\"a\":2}");
    EXPECT_THAT(open_message(folder), HasSubstr("twice"));
    folder.write("config.json", "{}");
    EXPECT_THAT(open_message(folder), HasSubstr("no .safetensors"));
    folder.write("pytorch_model.bin", "x");
    EXPECT_THAT(open_message(folder), HasSubstr("pickle"));
  }
  {
    const TemporaryFolder folder;
    folder.write("config.json", "{}");
    write_shard(folder, "model-00001-of-00002.safetensors", "a");
    EXPECT_THAT(open_message(folder), HasSubstr("the index"));
    write_shard(folder, "model-00002-of-00002.safetensors", "b");
    EXPECT_THAT(open_message(folder), HasSubstr("no index"));
    index_of(folder, R"({"a":"model-00001-of-00002.safetensors","b":"model-00003-of-00002.safetensors"})");
    EXPECT_THAT(open_message(folder), HasSubstr("model-00003-of-00002.safetensors: missing"));
    index_of(folder, R"({"a":"model-00002-of-00002.safetensors","b":"model-00001-of-00002.safetensors"})");
    EXPECT_THAT(open_message(folder), HasSubstr("swapped"));
    index_of(folder, R"({"a":"../model-00001-of-00002.safetensors"})");
    EXPECT_THAT(open_message(folder), HasSubstr("not the name of a file"));
    index_of(folder, R"({"a":7})");
    EXPECT_THAT(open_message(folder), HasSubstr("not the name of a file"));
    index_of(folder, "[]");
    EXPECT_THAT(open_message(folder), HasSubstr("no weight_map"));
    write_shard(folder, "model-00002-of-00002.safetensors", "a");
    index_of(folder, R"({"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"})");
    EXPECT_THAT(open_message(folder), HasSubstr("is in two files"));
  }
}

}  // namespace
}  // namespace pare
