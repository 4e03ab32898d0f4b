// Who may ask: the bearer key, and pages of other sites kept away.
//
// A browser sends requests to any address, also to a loopback one, for whatever page it shows. So a request that names
// a page it comes from (Origin) must come from our own page or the one that was asked for; and without a key, on
// loopback, the name that it was sent to (Host) must be a loopback one too, else another site's name could be made to
// point here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pare/server/answer.h"

namespace pare {

struct Credentials {
  std::string_view authorization, origin, host;  // headers; empty: absent
};

class Guard {
 public:
  Guard(std::vector<std::string> keys, std::string cors_origin, bool loopback)
      : keys_(std::move(keys)), cors_origin_(std::move(cors_origin)), loopback_(loopback) {}
  // Nothing: may pass. `open`: the route needs no key.
  std::optional<ApiError> refuses(const Credentials& credentials, bool open) const;

 private:
  bool knows(std::string_view key) const;

  std::vector<std::string> keys_;
  std::string cors_origin_;
  bool loopback_;
};

// In a time that depends on the length of `given` alone.
bool equal_in_constant_time(std::string_view given, std::string_view secret);

}  // namespace pare
