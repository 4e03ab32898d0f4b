// What a route gives back, and how it says that something is wrong.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace pare {

struct HttpRequest {
  std::string method, path;  // path without the query
  std::string body;
};

// An answer that is there at once, or comes bit by bit while the model works. pull() runs on the HTTP thread.
class Answer {
 public:
  virtual ~Answer() = default;

  int status = 200;  // of an answer that is not streamed: may still change until it is complete
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  bool streamed = false;  // sent as it comes; else when complete

  // Appends what has come. True: that was all of it.
  virtual bool pull(std::string& out) = 0;
  // `wake` is to be called, from any thread, whenever pull() would give something new.
  virtual void on_ready(std::function<void()> wake) { wake(); }
  // Nobody waits for the rest any more. From any thread.
  virtual void abandon() {}
};

class WholeAnswer : public Answer {
 public:
  WholeAnswer(int code, std::string type, std::string body) : body_(std::move(body)) {
    status = code;
    content_type = std::move(type);
  }
  bool pull(std::string& out) override {
    out += body_;
    return true;
  }

 private:
  std::string body_;
};

// A request that cannot be served, in OpenAI's words.
struct ApiError {
  int status = 400;
  std::string message = {};
  std::string type = "invalid_request_error";
  std::string code = {};   // "" is null
  std::string param = {};  // the field at fault; "" is null

  std::string body() const;  // {"error": {"message", "type", "code", "param"}}
  std::unique_ptr<Answer> answer() const;
};
ApiError not_found(const std::string& what);
ApiError busy(const std::string& why);  // 503, with Retry-After

}  // namespace pare
