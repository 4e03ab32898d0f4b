#include "pare/server/guard.h"

namespace pare {
namespace {

constexpr std::string_view kBearer = "Bearer ";

std::string_view without_port(std::string_view host) {
  if (host.starts_with('[') && host.find(']') != std::string_view::npos) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

// Digits and dots only: 127.evil.com is somebody's name, and may lead here.
bool is_loopback_name(std::string_view host) {
  const std::string_view name = without_port(host);
  const bool numbers = name.find_first_not_of("0123456789.") == std::string_view::npos;
  return host.empty() || name == "localhost" || name == "[::1]" || (numbers && name.starts_with("127."));
}

}  // namespace

bool equal_in_constant_time(std::string_view given, std::string_view secret) {
  unsigned difference = given.size() == secret.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i) {
    const char other = secret.empty() ? '\0' : secret[i % secret.size()];
    difference |= static_cast<unsigned>(static_cast<unsigned char>(given[i] ^ other));
  }
  return difference == 0;
}

bool Guard::knows(std::string_view key) const {
  bool known = false;
  for (const std::string& one : keys_) known |= equal_in_constant_time(key, one);
  return known;
}

std::optional<ApiError> Guard::refuses(const Credentials& credentials, bool open) const {
  const ApiError forbidden{.status = 403, .type = "permission_error", .code = "forbidden"};
  if (!credentials.origin.empty() && cors_origin_ != "*" && credentials.origin != cors_origin_) {
    const size_t scheme = credentials.origin.find("://");
    const std::string_view origin_host = scheme == std::string_view::npos ? "" : credentials.origin.substr(scheme + 3);
    if (origin_host != credentials.host) {
      ApiError error = forbidden;
      error.message = "pages of " + std::string(credentials.origin) +
                      " may not call this server; start it with --cors " + std::string(credentials.origin) +
                      " to allow them";
      return error;
    }
  }
  if (keys_.empty() && loopback_ && !is_loopback_name(credentials.host)) {
    ApiError error = forbidden;
    error.message = "this server is for its own machine and was called by the name " + std::string(credentials.host) +
                    "; call it 127.0.0.1, or start it with a key";
    return error;
  }
  if (open || keys_.empty()) return std::nullopt;
  if (!credentials.authorization.starts_with(kBearer)) {
    return ApiError{.status = 401,
                    .message = "a key is needed: send the header \"Authorization: Bearer KEY\"",
                    .type = "authentication_error",
                    .code = "missing_api_key"};
  }
  if (!knows(credentials.authorization.substr(kBearer.size()))) {
    return ApiError{.status = 401,
                    .message = "this server does not know the key that was sent",
                    .type = "authentication_error",
                    .code = "invalid_api_key"};
  }
  return std::nullopt;
}

}  // namespace pare
