// HTTP for `pare serve`: libmicrohttpd with a bound on everything that a client decides.
//
// One thread reads and writes all connections and never waits: a request that is there goes to a few workers, which
// parse it and hand it to the engine; its connection sleeps until the answer has something new (Answer::on_ready). A
// watcher ends what libmicrohttpd cannot see: a request that arrives a byte at a time, and a client that hangs up while
// its connection sleeps, whose answer is then abandoned.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pare/server/answer.h"

namespace pare {

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 8080;                   // 0: any free one
  std::vector<std::string> keys;     // bearer keys; none: open to whoever reaches it
  std::string cors_origin;           // a page from there may call; "*": from anywhere; "": only our own
  uint64_t body_bytes = 10'000'000;  // of one request; all together eight times as much
  int connections = 256;
  int read_seconds = 60;  // for a whole request to arrive, counted from the end of the one before
  int idle_seconds = 60;  // without a byte taken by a client that gets an answer
  int workers = 2;
};

class HttpServer {
 public:
  // Throws ApiError for a fault of the request; any other exception is a 500.
  using Handler = std::function<std::unique_ptr<Answer>(const HttpRequest&)>;
  struct Route {
    std::string method, path;  // a path that ends in "/*" takes any last part
    Handler handler;
    bool open = false;  // without a key
  };

  // Listens at once. UsageError naming the address when that cannot be had.
  HttpServer(const HttpOptions& options, std::vector<Route> routes);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string address() const;  // "http://127.0.0.1:8080"
  void stop_listening();        // connections that are there stay
  // Waits until every answer under way is sent. False after `limit`.
  bool wait_idle(std::chrono::milliseconds limit);

  struct Counts {
    uint64_t requests = 0, connections = 0;
    uint64_t by_status[6] = {};  // [4]: 400 to 499
    int64_t open_connections = 0;
  };
  Counts counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pare
