// Where the hub is, where its files go and who asks: options first, then huggingface_hub's own variables, so that both
// share a cache and a login.
#pragma once

#include <filesystem>
#include <string>

namespace pare {

struct HubSettings {
  std::string endpoint;         // without a slash at the end. HF_ENDPOINT
  std::filesystem::path cache;  // HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub
  std::string token;     // HF_TOKEN, HUGGING_FACE_HUB_TOKEN, the file HF_TOKEN_PATH or HF_HOME/token; may be empty
  bool offline = false;  // HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE
  long timeout_s = 30;   // without a byte before a connection counts as dead. HF_HUB_DOWNLOAD_TIMEOUT
};

// `endpoint` and `cache` as given on the command line, empty if they were not. Throws UsageError.
HubSettings hub_settings(std::string endpoint, const std::string& cache);

// ORG/NAME[:FILE]; also with the endpoint or hf.co in front, as copied from a browser.
struct HubName {
  std::string repo, file;
};
HubName parse_hub_name(std::string text, const HubSettings& settings);  // throws UsageError

}  // namespace pare
