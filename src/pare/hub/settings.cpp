#include "pare/hub/settings.h"

#include <charconv>
#include <cstdlib>
#include <fstream>

#include "pare/base/error.h"
#include "pare/base/model_path.h"
#include "pare/hub/listing.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_set(const char* name) {
  std::string value = variable(name);
  for (char& c : value) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

fs::path with_home(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) return fs::path(variable("HOME")) / path.substr(path.size() > 1 ? 2 : 1);
  return path;
}

// The first that is set; else `otherwise`.
fs::path path_from(std::initializer_list<const char*> names, const fs::path& otherwise) {
  for (const char* name : names) {
    if (const std::string value = variable(name); !value.empty()) return with_home(value);
  }
  return otherwise;
}

std::string stripped(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

std::string find_token(const fs::path& home) {
  if (is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return "";
  std::string token, from;
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    token = stripped(variable(name));
    from = name;
    if (!token.empty()) break;
  }
  if (token.empty()) {
    const fs::path path = path_from({"HF_TOKEN_PATH"}, home / "token");
    std::ifstream file(path);
    std::string text(4096, '\0');
    file.read(text.data(), 4096);
    text.resize(static_cast<size_t>(file.gcount()));
    token = stripped(text);
    from = path.string();
  }
  for (const char c : token) {
    // it becomes a line of the request
    if (c <= ' ' || c > '~') throw UsageError(from + ": a token of the hub is one word of letters, digits and signs");
  }
  return token;
}

}  // namespace

HubSettings hub_settings(std::string endpoint, const std::string& cache) {
  HubSettings settings;
  if (endpoint.empty()) endpoint = variable("HF_ENDPOINT");
  if (endpoint.empty()) endpoint = "https://huggingface.co";
  while (endpoint.ends_with('/')) endpoint.pop_back();
  if (!endpoint.starts_with("https://") && !endpoint.starts_with("http://")) {
    throw UsageError("--endpoint (or HF_ENDPOINT) " + endpoint + ": a hub's address begins with https:// or http://");
  }
  settings.endpoint = endpoint;
  const fs::path home = path_from({"HF_HOME"}, path_from({"XDG_CACHE_HOME"}, with_home("~/.cache")) / "huggingface");
  settings.cache = cache.empty() ? path_from({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}, home / "hub") : fs::path(cache);
  settings.cache = fs::absolute(settings.cache);
  settings.token = find_token(home);
  settings.offline = is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE");
  if (const std::string timeout = variable("HF_HUB_DOWNLOAD_TIMEOUT"); !timeout.empty()) {
    long seconds = 0;
    std::from_chars(timeout.data(), timeout.data() + timeout.size(), seconds);
    if (seconds < 1 || seconds > 86400)
      throw UsageError("HF_HUB_DOWNLOAD_TIMEOUT: " + timeout + " is not 1 to 86400 s");
    settings.timeout_s = seconds;
  }
  return settings;
}

HubName parse_hub_name(std::string text, const HubSettings& settings) {
  const std::string given = text;
  for (const std::string& prefix : {settings.endpoint + "/", std::string("https://huggingface.co/"),
                                    std::string("https://hf.co/"), std::string("hf.co/"), std::string("hf://")}) {
    if (text.starts_with(prefix)) {
      text.erase(0, prefix.size());
      break;
    }
  }
  HubName name;
  const size_t colon = text.find(':');
  name.repo = text.substr(0, colon);
  if (name.repo.ends_with('/')) name.repo.pop_back();
  if (!is_hub_name(name.repo)) {
    throw UsageError("pull: " + given +
                     " is not ORG/NAME or ORG/NAME:FILE as the hub has it (letters, digits, '-', '_' and '.'), for "
                     "example HuggingFaceTB/SmolLM2-135M");
  }
  if (colon == std::string::npos) return name;
  name.file = text.substr(colon + 1);
  if (const std::string fault = fault_of_path(name.file); !fault.empty()) {
    throw UsageError("pull: " + given + ": what is behind the colon " + fault);
  }
  return name;
}

}  // namespace pare
