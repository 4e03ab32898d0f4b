#include "pare/hub/http.h"

#include <curl/curl.h>
#include <dlfcn.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <set>

#include "pare/base/error.h"
#include "pare/base/version.h"

namespace pare {
namespace {

// libcurl, opened when it is first needed: it brings thirty libraries, and linked it would double the time in which
// every command starts. The names of its functions are theirs.
struct Curl {
  decltype(&::curl_global_init) global_init = find<decltype(&::curl_global_init)>("curl_global_init");
  decltype(&::curl_easy_init) easy_init = find<decltype(&::curl_easy_init)>("curl_easy_init");
  decltype(&::curl_easy_cleanup) easy_cleanup = find<decltype(&::curl_easy_cleanup)>("curl_easy_cleanup");
  decltype(&::curl_easy_reset) easy_reset = find<decltype(&::curl_easy_reset)>("curl_easy_reset");
  decltype(&::curl_easy_setopt) easy_setopt = find<decltype(&::curl_easy_setopt)>("curl_easy_setopt");
  decltype(&::curl_easy_getinfo) easy_getinfo = find<decltype(&::curl_easy_getinfo)>("curl_easy_getinfo");
  decltype(&::curl_easy_perform) easy_perform = find<decltype(&::curl_easy_perform)>("curl_easy_perform");
  decltype(&::curl_easy_strerror) easy_strerror = find<decltype(&::curl_easy_strerror)>("curl_easy_strerror");
  decltype(&::curl_slist_append) slist_append = find<decltype(&::curl_slist_append)>("curl_slist_append");
  decltype(&::curl_slist_free_all) slist_free_all = find<decltype(&::curl_slist_free_all)>("curl_slist_free_all");
  decltype(&::curl_url) url = find<decltype(&::curl_url)>("curl_url");
  decltype(&::curl_url_set) url_set = find<decltype(&::curl_url_set)>("curl_url_set");
  decltype(&::curl_url_get) url_get = find<decltype(&::curl_url_get)>("curl_url_get");
  decltype(&::curl_url_cleanup) url_cleanup = find<decltype(&::curl_url_cleanup)>("curl_url_cleanup");
  decltype(&::curl_free) free = find<decltype(&::curl_free)>("curl_free");
  decltype(&::curl_getdate) getdate = find<decltype(&::curl_getdate)>("curl_getdate");

  Curl() {
    if (global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) throw ResourceError("pull: libcurl does not start");
  }

 private:
  template <class Function>
  static Function find(const char* name) {
    void* const library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);  // opened once, however often it is asked for
    void* const found = library == nullptr ? nullptr : dlsym(library, name);
    if (found != nullptr) return reinterpret_cast<Function>(found);
    const char* why = dlerror();
    throw UnsupportedError(std::string("pull: needs libcurl (Debian: libcurl4) of 7.85 or newer: ") +
                           (why == nullptr ? name : why));
  }
};

const Curl& curl() {
  static const Curl opened;
  return opened;
}

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxHeaders = 200, kMaxIgnored = 64 << 10;

// scheme://host:port; empty when this is no URL.
std::string origin_of(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed(curl().url(), curl().url_cleanup);
  std::string origin;
  if (parsed == nullptr || curl().url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return "";
  for (const CURLUPart part : {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT}) {
    char* text = nullptr;
    if (curl().url_get(parsed.get(), part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return "";
    for (const char* c = text; *c != '\0'; ++c)
      origin += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
    origin += ':';
    curl().free(text);
  }
  return origin;
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

double number_in(std::string_view text) {
  double number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && std::isfinite(number) ? number : -1;
}

struct HeaderList {
  curl_slist* list = nullptr;
  ~HeaderList() { curl().slist_free_all(list); }
  void add(const std::string& line) { list = curl().slist_append(list, line.c_str()); }
};

}  // namespace

struct HttpClient::State {
  CURL* handle = nullptr;
  HubSettings settings;
  std::string origin;  // the hub's
  std::function<bool()> stopped;

  // of the request that is going on
  HttpResponse* response = nullptr;
  const Sink* sink = nullptr;
  std::exception_ptr thrown;
  bool refused = false;
  size_t ignored = 0;  // bytes

  bool one_answer(const std::string& url, uint64_t from);
  std::string next_hop(const std::string& url) const;
  static size_t on_header(char* text, size_t, size_t size, void* user);
  static size_t on_body(char* bytes, size_t, size_t size, void* user);
  static int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t);
};

size_t HttpClient::State::on_header(char* text, size_t, size_t size, void* user) {
  HttpResponse& response = *static_cast<State*>(user)->response;
  const std::string line(text, size);
  if (line.starts_with("HTTP/")) response.headers.clear();  // one more answer: 100, or a proxy's
  const size_t colon = line.find(':');
  if (colon == std::string::npos) return size;
  if (response.headers.size() >= kMaxHeaders) return 0;
  std::string name = line.substr(0, colon), value;
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (size_t i = line.find_first_not_of(" \t", colon + 1); i < line.size(); ++i) {
    if (static_cast<unsigned char>(line[i]) >= 0x20) value += line[i];  // messages show some of them
  }
  while (value.ends_with(' ')) value.pop_back();
  response.headers[name] = value;
  return size;
}

size_t HttpClient::State::on_body(char* bytes, size_t, size_t size, void* user) {
  State& state = *static_cast<State*>(user);
  long status = 0;
  curl().easy_getinfo(state.handle, CURLINFO_RESPONSE_CODE, &status);
  state.response->status = static_cast<int>(status);
  // The pages of errors and redirects say nothing that is needed. A short one is heard to its end, so that the
  // connection can be used again; one without an end must not hold us.
  if (status != 200 && status != 206) {
    state.ignored += size;
    state.refused = state.ignored > kMaxIgnored;
    return state.refused ? 0 : size;
  }
  try {
    if ((*state.sink)(*state.response, {reinterpret_cast<const std::byte*>(bytes), size})) return size;
    state.response->problem = "ended before its end";
  } catch (...) {
    state.thrown = std::current_exception();
  }
  state.refused = true;
  return 0;
}

int HttpClient::State::on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<State*>(user)->stopped() ? 1 : 0;
}

std::string HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

double HttpResponse::asked_to_wait_s() const {
  const std::string after = header("retry-after");
  if (const double seconds = number_in(after); seconds >= 0) return seconds;
  if (const time_t date = after.empty() ? -1 : curl().getdate(after.c_str(), nullptr); date != -1) {
    return std::max(0.0, std::difftime(date, std::time(nullptr)));
  }
  const std::string limit = header("ratelimit");  // "api";r=0;t=55
  const size_t reset = limit.find(";t=");
  const double seconds = reset == std::string::npos || status != 429 ? -1 : number_in(limit.substr(reset + 3));
  return seconds < 0 ? -1 : seconds + 1;
}

HttpClient::HttpClient(const HubSettings& settings, std::function<bool()> stopped) : state_(std::make_unique<State>()) {
  state_->handle = curl().easy_init();
  if (state_->handle == nullptr) throw ResourceError("pull: libcurl does not start");
  state_->settings = settings;
  state_->origin = origin_of(settings.endpoint);
  state_->stopped = std::move(stopped);
}

HttpClient::~HttpClient() {
  curl().easy_cleanup(state_->handle);
}

// One request, one answer into state.response. False when nothing more can come of it.
bool HttpClient::State::one_answer(const std::string& url, uint64_t from) {
  curl().easy_reset(handle);  // keeps the connections
  const auto set = [&](CURLoption option, auto value) { curl().easy_setopt(handle, option, value); };
  HeaderList headers;
  headers.add("Accept-Encoding: identity");  // hashes are of the files, not of what packs them
  response->from_hub = origin_of(url) == origin;
  if (response->from_hub && !settings.token.empty()) headers.add("Authorization: Bearer " + settings.token);
  const std::string range = std::to_string(from) + "-", agent = "pare/" + version();
  char words[CURL_ERROR_SIZE] = "";
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_HTTPHEADER, headers.list);
  set(CURLOPT_USERAGENT, agent.c_str());
  if (from > 0) set(CURLOPT_RANGE, range.c_str());
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_ERRORBUFFER, words);
  set(CURLOPT_BUFFERSIZE, 512L << 10);
  set(CURLOPT_CONNECTTIMEOUT, settings.timeout_s);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, settings.timeout_s);
  set(CURLOPT_HEADERFUNCTION, on_header);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, on_body);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_XFERINFOFUNCTION, on_progress);
  set(CURLOPT_XFERINFODATA, this);
  set(CURLOPT_NOPROGRESS, 0L);
  for (const char* name : {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"}) {
    const char* bundle = std::getenv(name);  // the command curl and Python look there, the library does not
    if (bundle != nullptr && *bundle != '\0') {
      set(CURLOPT_CAINFO, bundle);
      break;
    }
  }
  refused = false;
  ignored = 0;
  response->status = 0;
  response->headers.clear();
  const CURLcode code = curl().easy_perform(handle);
  long status = 0;
  curl().easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  response->status = static_cast<int>(status);
  if (thrown) std::rethrow_exception(thrown);
  if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && refused)) return true;
  response->problem = *words != '\0' ? words : curl().easy_strerror(code);
  response->hopeless = code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT ||
                       code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
  return false;
}

// Where a redirect leads; empty when it may not be followed.
std::string HttpClient::State::next_hop(const std::string& url) const {
  char* text = nullptr;
  curl().easy_getinfo(handle, CURLINFO_REDIRECT_URL, &text);
  const std::string next = text == nullptr ? "" : text;
  const std::string origin_here = origin_of(url), origin_there = origin_of(next);
  if (origin_there.starts_with("https:")) return next;
  // never from a protected connection to an open one
  return origin_there.starts_with("http:") && origin_here.starts_with("http:") ? next : "";
}

HttpResponse HttpClient::get(const std::string& first_url, uint64_t from, const Sink& sink) {
  HttpResponse response;
  state_->response = &response;
  state_->sink = &sink;
  state_->thrown = nullptr;
  std::set<std::string> seen;
  for (std::string url = first_url; seen.insert(url).second;) {
    if (seen.size() > static_cast<size_t>(kMaxRedirects) + 1) break;
    if (!state_->one_answer(url, from)) return response;
    if (response.linked_etag.empty()) response.linked_etag = response.header("x-linked-etag");
    if (response.linked_size.empty()) response.linked_size = response.header("x-linked-size");
    if (!is_redirect(response.status)) return response;
    const std::string next = state_->next_hop(url);
    if (next.empty()) {
      response.problem = "redirected to \"" + response.header("location") + "\", which is not https";
      response.hopeless = true;
      return response;
    }
    url = next;
  }
  response.problem = "redirected in a circle, or more than " + std::to_string(kMaxRedirects) + " times";
  response.hopeless = true;
  return response;
}

std::string url_quoted(const std::string& text, bool keep_slashes) {
  std::string quoted;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && (std::isalnum(byte) != 0 || std::string_view("-._~").find(c) != std::string_view::npos ||
                        (keep_slashes && c == '/'))) {
      quoted += c;
    } else {
      quoted += '%';
      quoted += "0123456789ABCDEF"[byte >> 4];
      quoted += "0123456789ABCDEF"[byte & 15];
    }
  }
  return quoted;
}

}  // namespace pare
