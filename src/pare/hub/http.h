// GET, with what matters when a stranger answers: redirects are followed here and not by curl, so that the token goes
// to the hub's own address only; nothing blocks for ever; no body is longer than asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "pare/hub/settings.h"

namespace pare {

struct HttpResponse {
  int status = 0;                              // 0: none came
  std::map<std::string, std::string> headers;  // of the last answer; names in small letters
  std::string linked_etag, linked_size;        // of any of the answers on the way: what the hub says of an LFS file
  bool from_hub = true;                        // the last answer came from the endpoint's own address
  std::string problem;                         // why there is no answer or only a part of one; empty when it came whole
  bool hopeless = false;                       // the problem will be there next time too

  std::string header(const std::string& name) const;
  double asked_to_wait_s() const;  // Retry-After or RateLimit; -1 when it does not say
  bool is_whole() const { return problem.empty() && (status == 200 || status == 206); }
};

class HttpClient {
 public:
  // Connections are kept and used again; one thread at a time. `stopped` is asked several times a second, and ends
  // what is going on.
  HttpClient(const HubSettings& settings, std::function<bool()> stopped);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Gets pieces of the body of a 200 or 206; false ends the transfer. The response has its headers by then.
  using Sink = std::function<bool(const HttpResponse&, std::span<const std::byte>)>;

  // From byte `from` on. Never throws but what `sink` throws.
  HttpResponse get(const std::string& url, uint64_t from, const Sink& sink);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A path or a revision within a URL.
std::string url_quoted(const std::string& text, bool keep_slashes);

}  // namespace pare
