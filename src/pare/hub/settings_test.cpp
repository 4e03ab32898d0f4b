#include "pare/hub/settings.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "pare/base/error.h"
#include "pare/base/model_path.h"
#include "pare/hub/content_hash.h"
#include "pare/hub/http.h"

namespace pare {
namespace {

constexpr const char* kVariables[] = {"HF_ENDPOINT",
                                      "HF_HOME",
                                      "HF_HUB_CACHE",
                                      "HUGGINGFACE_HUB_CACHE",
                                      "HF_TOKEN",
                                      "HUGGING_FACE_HUB_TOKEN",
                                      "HF_TOKEN_PATH",
                                      "HF_HUB_OFFLINE",
                                      "TRANSFORMERS_OFFLINE",
                                      "XDG_CACHE_HOME",
                                      "HF_HUB_DOWNLOAD_TIMEOUT",
                                      "HF_HUB_DISABLE_IMPLICIT_TOKEN"};

class HubSettingsTest : public testing::Test {
 protected:
  HubSettingsTest() {
    for (const char* name : kVariables) unsetenv(name);
    setenv("HOME", "/nowhere", 1);
  }
  ~HubSettingsTest() override {
    for (const char* name : kVariables) unsetenv(name);
  }
};

TEST_F(HubSettingsTest, FindTheCacheWhereHuggingfaceHubDoes) {
  EXPECT_EQ(hub_settings("", "").cache, "/nowhere/.cache/huggingface/hub");
  setenv("XDG_CACHE_HOME", "/xdg", 1);
  EXPECT_EQ(hub_settings("", "").cache, "/xdg/huggingface/hub");
  setenv("HF_HOME", "~/hf", 1);
  EXPECT_EQ(hub_settings("", "").cache, "/nowhere/hf/hub");
  setenv("HUGGINGFACE_HUB_CACHE", "/old", 1);
  EXPECT_EQ(hub_settings("", "").cache, "/old");
  setenv("HF_HUB_CACHE", "/new", 1);
  EXPECT_EQ(hub_settings("", "").cache, "/new");
  EXPECT_EQ(hub_settings("", "/given").cache, "/given");
}

TEST_F(HubSettingsTest, FindTheTokenAndRefuseOneThatIsNoWord) {
  EXPECT_EQ(hub_settings("", "").token, "");
  const std::string path = testing::TempDir() + "pare_token";
  std::ofstream(path) << "hf_file\n";
  setenv("HF_TOKEN_PATH", path.c_str(), 1);
  EXPECT_EQ(hub_settings("", "").token, "hf_file");
  setenv("HUGGING_FACE_HUB_TOKEN", " hf_old\n", 1);
  EXPECT_EQ(hub_settings("", "").token, "hf_old");
  setenv("HF_TOKEN", "hf_new", 1);
  EXPECT_EQ(hub_settings("", "").token, "hf_new");
  setenv("HF_TOKEN", "hf\r\nHost: other", 1);
  EXPECT_THROW(hub_settings("", ""), UsageError);
  setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", 1);
  EXPECT_EQ(hub_settings("", "").token, "");
}

TEST_F(HubSettingsTest, ReadEndpointOfflineAndTimeout) {
  EXPECT_EQ(hub_settings("", "").endpoint, "https://huggingface.co");
  setenv("HF_ENDPOINT", "http://mirror/", 1);
  EXPECT_EQ(hub_settings("", "").endpoint, "http://mirror");
  EXPECT_EQ(hub_settings("https://given", "").endpoint, "https://given");
  EXPECT_THROW(hub_settings("file:///etc", ""), UsageError);
  EXPECT_FALSE(hub_settings("", "").offline);
  setenv("HF_HUB_OFFLINE", "true", 1);
  EXPECT_TRUE(hub_settings("", "").offline);
  setenv("HF_HUB_DOWNLOAD_TIMEOUT", "7", 1);
  EXPECT_EQ(hub_settings("", "").timeout_s, 7);
  setenv("HF_HUB_DOWNLOAD_TIMEOUT", "never", 1);
  EXPECT_THROW(hub_settings("", ""), UsageError);
}

TEST_F(HubSettingsTest, ReadANameAsPeopleCopyIt) {
  const HubSettings settings = hub_settings("http://mirror", "");
  for (const char* text :
       {"org/name", "http://mirror/org/name", "https://huggingface.co/org/name/", "hf.co/org/name"}) {
    EXPECT_EQ(parse_hub_name(text, settings).repo, "org/name") << text;
  }
  EXPECT_EQ(parse_hub_name("hf.co/org/name:Q4_K_M", settings).file, "Q4_K_M");
  EXPECT_EQ(parse_hub_name("org/name:a/b.gguf", settings).file, "a/b.gguf");
  for (const char* text : {"", "name", "/name", "org/", "../name", "org/..", "a/b/c", "org/na me",
                           "org/name:", "org/a--b", "org/name:../x", "org/name?x", "http://other/org/name"}) {
    EXPECT_THROW(parse_hub_name(text, settings), UsageError) << text;
  }
}

TEST(ModelPath, ANameOfTheHubIsShownHowToGetIt) {
  EXPECT_EQ(no_such_model("org/name"), "org/name: not a folder or file here; `pare pull org/name` downloads it");
  EXPECT_NE(no_such_model("org/name:Q4_0").find("`pare pull org/name:Q4_0`"), std::string::npos);
  for (const char* path : {"name", "a/b/c", "./name", "/org/name", "models/small.gguf", "../name"}) {
    EXPECT_EQ(no_such_model(path).find("pull"), std::string::npos) << path;
  }
}

TEST(ContentHash, IsWhatGitAndSha256sumSay) {
  const std::string text = "hello\n";
  HubFile file{"a", text.size(), "", std::string(40, '0')};
  ContentHash git(file);
  git.add(std::as_bytes(std::span(text)));
  EXPECT_EQ(git.hex(), "ce013625030ba8dba906f756967f9e9ca394464a");  // git hash-object
  git.restart();
  git.add(std::as_bytes(std::span(text)));
  EXPECT_EQ(git.hex(), "ce013625030ba8dba906f756967f9e9ca394464a");
  file.sha256 = std::string(64, '0');
  ContentHash sha(file);
  for (const char c : text) sha.add(std::as_bytes(std::span(&c, 1)));
  EXPECT_EQ(sha.hex(), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
}

TEST(HubUrl, QuotesWhatAUrlWouldReadOtherwise) {
  EXPECT_EQ(url_quoted("a b/ü?#%.json", true), "a%20b/%C3%BC%3F%23%25.json");
  EXPECT_EQ(url_quoted("refs/pr/1", false), "refs%2Fpr%2F1");
}

}  // namespace
}  // namespace pare
