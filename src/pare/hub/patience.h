// How often, and after what time, a request is made again: cut connections, 5xx, 408 and 429, as often as it brings
// something and at most kMaxFailures times in a row where it does not. Waits double from half a second; a server that
// says how long (Retry-After, RateLimit) is believed.
#pragma once

#include <functional>
#include <string>

#include "pare/hub/http.h"

namespace pare {

inline constexpr int kMaxFailures = 6;

// Whether the same request may be answered another time.
bool is_worth_another_try(const HttpResponse& response);

// "the server answers 503", "Recv failure: Connection reset by peer"
std::string describe(const HttpResponse& response);

class Patience {
 public:
  Patience(std::string what, std::function<bool()> stopped) : what_(std::move(what)), stopped_(std::move(stopped)) {}

  // After an answer that was not whole: says so, waits and returns, or throws Error (exit code 1) when this was one
  // too many. `progress`: it brought bytes that are kept.
  void wait_after(const HttpResponse& response, bool progress);

 private:
  std::string what_;
  std::function<bool()> stopped_;
  int failures_ = 0;
};

}  // namespace pare
