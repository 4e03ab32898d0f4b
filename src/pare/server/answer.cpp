#include "pare/server/answer.h"

#include <nlohmann/json.hpp>

#include "pare/base/json.h"

namespace pare {

std::string ApiError::body() const {
  const auto or_null = [](const std::string& text) { return text.empty() ? nlohmann::json() : nlohmann::json(text); };
  return dump_json(
      {{"error", {{"message", message}, {"type", type}, {"code", or_null(code)}, {"param", or_null(param)}}}});
}

std::unique_ptr<Answer> ApiError::answer() const {
  auto answer = std::make_unique<WholeAnswer>(status, "application/json", body());
  if (status == 503) answer->headers.emplace_back("Retry-After", "1");
  if (status == 401) answer->headers.emplace_back("WWW-Authenticate", "Bearer");
  return answer;
}

ApiError not_found(const std::string& what) {
  return {.status = 404, .message = what, .code = "not_found"};
}

ApiError busy(const std::string& why) {
  return {.status = 503, .message = why, .type = "server_error", .code = "overloaded"};
}

}  // namespace pare
