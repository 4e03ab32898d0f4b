#include "pare/server/http_server.h"

#include <microhttpd.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <new>
#include <set>
#include <thread>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/base/resources.h"
#include "pare/server/exchange.h"
#include "pare/server/guard.h"
#include "pare/server/listen_socket.h"
#include "pare/server/worker_threads.h"

namespace pare {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kHeaderBytes = 64 << 10;  // of one connection: its headers, and what is on its way out
constexpr size_t kStreamBytes = 16 << 10;
constexpr uint64_t kBodiesAtOnce = 8;
constexpr uint64_t kLargeBody_bytes = 256 << 10;  // memory is given back to the system after one
constexpr auto kWatch = std::chrono::milliseconds(100);

struct Connection {
  int socket;
  Clock::time_point since;  // when it began to wait for a request
  bool reading = true;
};

std::string_view header(MHD_Connection* connection, const char* name) {
  const char* value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
  return value == nullptr ? "" : value;
}

bool matches(const std::string& pattern, const std::string& path) {
  if (!pattern.ends_with("/*")) return pattern == path;
  const auto stem = std::string_view(pattern).substr(0, pattern.size() - 1);
  return path.size() > stem.size() && path.starts_with(stem);
}

}  // namespace

struct HttpServer::Impl {
  HttpOptions options;
  std::vector<Route> routes;
  ListenSocket listening;
  Guard guard;
  MHD_Daemon* daemon = nullptr;
  std::thread watcher;

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::set<Connection*> connections;
  std::set<std::shared_ptr<Exchange>> exchanges;
  std::atomic<uint64_t> body_bytes = 0;  // of all requests that are there
  std::atomic<bool> stopping = false;
  Counts counts;
  WorkerThreads workers;  // last: the first to go

  Impl(const HttpOptions& o, std::vector<Route> r)
      : options(o),
        routes(std::move(r)),
        listening(o.host, o.port),
        guard(o.keys, o.cors_origin, listening.loopback()),
        workers(o.workers) {}

  void start();
  void watch();

  MHD_Result access(MHD_Connection* connection, const char* url, const char* method, const char* data, size_t* size,
                    void** context);
  MHD_Result begin(MHD_Connection* connection, const char* url, const char* method, void** context);
  std::optional<ApiError> find_route(Exchange& exchange) const;
  void hand_over(MHD_Connection* connection, const std::shared_ptr<Exchange>& exchange);
  MHD_Result go_on(MHD_Connection* connection, const std::shared_ptr<Exchange>& exchange);
  MHD_Result send(MHD_Connection* connection, Answer& answer, MHD_Response* response);
  MHD_Result send_whole(MHD_Connection* connection, Answer& answer, std::string body);
  MHD_Result preflight(MHD_Connection* connection);
  void completed(void** context, MHD_Connection* connection);
  void connected(MHD_Connection* connection, void** context, bool begins);
};

namespace {

// A stream's next bytes for libmicrohttpd.
ssize_t read_stream(void* context, uint64_t, char* buffer, size_t most) try {
  Exchange& exchange = **static_cast<std::shared_ptr<Exchange>*>(context);
  do {
    if (exchange.ended()) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (exchange.sent == exchange.unsent.size() && !exchange.complete) {
      exchange.unsent.clear();
      exchange.sent = 0;
      exchange.complete = exchange.answer()->pull(exchange.unsent);
    }
    if (const size_t left = exchange.unsent.size() - exchange.sent; left > 0) {
      const size_t size = std::min(left, most);
      std::copy_n(exchange.unsent.data() + exchange.sent, size, buffer);
      exchange.sent += size;
      return static_cast<ssize_t>(size);
    }
    if (exchange.complete) return MHD_CONTENT_READER_END_OF_STREAM;
  } while (!exchange.sleep());
  return 0;
} catch (const std::exception&) {  // out of memory; no exception may go through the library's C
  return MHD_CONTENT_READER_END_WITH_ERROR;
}

void free_stream(void* context) {
  delete static_cast<std::shared_ptr<Exchange>*>(context);
}

Connection* connection_of(MHD_Connection* connection) {
  return static_cast<Connection*>(
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context);
}

int socket_of(MHD_Connection* connection) {
  return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

}  // namespace

void HttpServer::Impl::start() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
    options.connections = std::min(options.connections, std::max(1, static_cast<int>(files.rlim_cur) - 64));
  }
  const MHD_AccessHandlerCallback on_access = [](void* self, MHD_Connection* connection, const char* url,
                                                 const char* method, const char*, const char* data, size_t* size,
                                                 void** context) {
    try {
      return static_cast<Impl*>(self)->access(connection, url, method, data, size, context);
    } catch (const std::exception&) {  // out of memory
      return MHD_NO;
    }
  };
  const MHD_RequestCompletedCallback on_completed = [](void* self, MHD_Connection* connection, void** context,
                                                       MHD_RequestTerminationCode) {
    static_cast<Impl*>(self)->completed(context, connection);
  };
  const MHD_NotifyConnectionCallback on_connection = [](void* self, MHD_Connection* connection, void** context,
                                                        MHD_ConnectionNotificationCode code) {
    static_cast<Impl*>(self)->connected(connection, context, code == MHD_CONNECTION_NOTIFY_STARTED);
  };
  daemon = MHD_start_daemon(
      MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, nullptr, nullptr, on_access, this,
      MHD_OPTION_LISTEN_SOCKET, listening.descriptor(), MHD_OPTION_CONNECTION_MEMORY_LIMIT, kHeaderBytes,
      MHD_OPTION_CONNECTION_LIMIT, static_cast<unsigned>(options.connections), MHD_OPTION_CONNECTION_TIMEOUT,
      static_cast<unsigned>(options.idle_seconds), MHD_OPTION_NOTIFY_COMPLETED, on_completed, this,
      MHD_OPTION_NOTIFY_CONNECTION, on_connection, this, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
  if (daemon == nullptr)
    throw ResourceError(
        "cannot start the HTTP server: libmicrohttpd gave no reason; are there threads and memory left?");
  watcher = std::thread([this] { watch(); });
}

void HttpServer::Impl::connected(MHD_Connection* connection, void** context, bool begins) {
  std::lock_guard lock(mutex);
  if (begins) {
    auto* made = new Connection{socket_of(connection), Clock::now()};
    *context = made;
    connections.insert(made);
    ++counts.connections;
    ++counts.open_connections;
  } else {
    connections.erase(static_cast<Connection*>(*context));
    delete static_cast<Connection*>(*context);
    --counts.open_connections;
  }
}

// Slow senders are cut, clients that hung up are noticed.
void HttpServer::Impl::watch() {
  std::vector<pollfd> sockets;
  std::vector<std::shared_ptr<Exchange>> asleep;
  std::unique_lock lock(mutex);
  while (!stopping) {
    changed.wait_for(lock, kWatch, [&] { return stopping.load(); });
    const auto now = Clock::now();
    for (const Connection* each : connections) {
      if (each->reading && now - each->since > std::chrono::seconds(options.read_seconds)) {
        shutdown(each->socket, SHUT_RDWR);  // open until connected(), which takes the same lock
      }
    }
    sockets.clear();
    asleep.clear();
    for (const auto& exchange : exchanges) {
      if (!exchange->received) continue;
      sockets.push_back({.fd = exchange->socket(), .events = POLLRDHUP, .revents = 0});
      asleep.push_back(exchange);
    }
    if (!sockets.empty() && poll(sockets.data(), sockets.size(), 0) > 0) {
      for (size_t i = 0; i < sockets.size(); ++i) {
        if ((sockets[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) asleep[i]->abandon();
      }
    }
  }
}

MHD_Result HttpServer::Impl::access(MHD_Connection* connection, const char* url, const char* method, const char* data,
                                    size_t* size, void** context) {
  if (*context == nullptr) return begin(connection, url, method, context);
  const auto exchange = *static_cast<std::shared_ptr<Exchange>*>(*context);
  if (*size > 0) {
    std::string& body = exchange->request.body;
    if (body.size() + *size > options.body_bytes) return MHD_NO;  // endless, or the length was not said beforehand
    body_bytes += *size;
    if (body_bytes > options.body_bytes * kBodiesAtOnce) {
      body_bytes -= *size;
      return MHD_NO;
    }
    body.append(data, *size);
    *size = 0;
    return MHD_YES;
  }
  if (!exchange->received) hand_over(connection, exchange);
  return go_on(connection, exchange);
}

std::optional<ApiError> HttpServer::Impl::find_route(Exchange& exchange) const {
  std::string allowed;
  for (size_t i = 0; i < routes.size(); ++i) {
    if (!matches(routes[i].path, exchange.request.path)) continue;
    if (routes[i].method == exchange.request.method ||
        (routes[i].method == "GET" && exchange.request.method == "HEAD")) {
      exchange.route = i;
      return std::nullopt;
    }
    allowed += (allowed.empty() ? "" : ", ") + routes[i].method;
  }
  if (allowed.empty()) return not_found("no route " + exchange.request.method + " " + exchange.request.path);
  return ApiError{.status = 405,
                  .message = exchange.request.path + " takes " + allowed + ", not " + exchange.request.method,
                  .code = "method_not_allowed"};
}

// The headers are there. What can be refused by them is, before a body is taken.
MHD_Result HttpServer::Impl::begin(MHD_Connection* connection, const char* url, const char* method, void** context) {
  auto exchange = std::make_shared<Exchange>(connection, socket_of(connection));
  exchange->request.method = method;
  exchange->request.path = url;
  *context = new std::shared_ptr<Exchange>(exchange);
  {
    std::lock_guard lock(mutex);
    ++counts.requests;
    exchanges.insert(exchange);
  }
  if (exchange->request.method == "OPTIONS" && !options.cors_origin.empty()) return preflight(connection);
  std::optional<ApiError> fault = find_route(*exchange);
  const bool open = !fault && routes[exchange->route].open;
  if (auto refused = guard.refuses({.authorization = header(connection, MHD_HTTP_HEADER_AUTHORIZATION),
                                    .origin = header(connection, MHD_HTTP_HEADER_ORIGIN),
                                    .host = header(connection, MHD_HTTP_HEADER_HOST)},
                                   open)) {
    fault = std::move(refused);
  }
  const std::string_view length = header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
  const bool longer = length.size() > 12 ||
                      (!length.empty() && std::strtoull(std::string(length).c_str(), nullptr, 10) > options.body_bytes);
  if (!fault && longer) {
    fault = {.status = 413,
             .message = "the body has " + std::string(length) + " bytes; at most " +
                        std::to_string(options.body_bytes) + " are taken",
             .code = "body_too_large"};
  }
  if (!fault) return MHD_YES;
  const auto answer = fault->answer();
  return send_whole(connection, *answer, fault->body());
}

// The request is there whole.
void HttpServer::Impl::hand_over(MHD_Connection* connection, const std::shared_ptr<Exchange>& exchange) {
  exchange->received = true;
  {
    std::lock_guard lock(mutex);
    connection_of(connection)->reading = false;
  }
  workers.add([this, exchange] {
    std::unique_ptr<Answer> answer;
    const uint64_t size = exchange->request.body.size();
    try {
      answer = routes[exchange->route].handler(exchange->request);
    } catch (const ApiError& fault) {
      answer = fault.answer();
    } catch (const std::bad_alloc&) {
      answer = busy("out of memory").answer();
    } catch (const std::exception& fault) {
      log_line(Level::warning, exchange->request.path + ": " + fault.what());
      answer = ApiError{.status = 500, .message = fault.what(), .type = "server_error", .code = "internal"}.answer();
    }
    exchange->request.body = {};
    body_bytes -= size;
    if (size > kLargeBody_bytes) give_back_free_heap();
    exchange->answer_with(std::move(answer));
  });
}

// After the request has come, and after every wake.
MHD_Result HttpServer::Impl::go_on(MHD_Connection* connection, const std::shared_ptr<Exchange>& exchange) {
  while (true) {
    if (stopping || exchange->ended()) return MHD_NO;
    if (Answer* answer = exchange->answer()) {
      if (answer->streamed) {
        MHD_Response* response = MHD_create_response_from_callback(
            MHD_SIZE_UNKNOWN, kStreamBytes, read_stream, new std::shared_ptr<Exchange>(exchange), free_stream);
        return send(connection, *answer, response);
      }
      try {
        if (answer->pull(exchange->unsent)) {
          exchange->complete = true;
          return send_whole(connection, *answer, std::move(exchange->unsent));
        }
      } catch (const std::bad_alloc&) {
        const ApiError fault = busy("out of memory");
        const auto refusal = fault.answer();
        exchange->abandon();
        return send_whole(connection, *refusal, fault.body());
      }
    }
    if (exchange->sleep()) return MHD_YES;
  }
}

MHD_Result HttpServer::Impl::send(MHD_Connection* connection, Answer& answer, MHD_Response* response) {
  if (response == nullptr) return MHD_NO;
  const auto add = [&](const char* name, const std::string& value) {
    MHD_add_response_header(response, name, value.c_str());
  };
  add(MHD_HTTP_HEADER_CONTENT_TYPE, answer.content_type);
  add("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : answer.headers) add(name.c_str(), value);
  if (!options.cors_origin.empty()) add(MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, options.cors_origin);
  {
    std::lock_guard lock(mutex);
    ++counts.by_status[std::clamp(answer.status / 100, 0, 5)];
  }
  const MHD_Result result = MHD_queue_response(connection, static_cast<unsigned>(answer.status), response);
  MHD_destroy_response(response);
  return result;
}

MHD_Result HttpServer::Impl::send_whole(MHD_Connection* connection, Answer& answer, std::string body) {
  return send(connection, answer, MHD_create_response_from_buffer(body.size(), body.data(), MHD_RESPMEM_MUST_COPY));
}

// A browser asks before it lets another site's page call.
MHD_Result HttpServer::Impl::preflight(MHD_Connection* connection) {
  WholeAnswer answer(204, "text/plain", "");
  answer.headers = {{"Access-Control-Allow-Methods", "GET, POST"},
                    {"Access-Control-Allow-Headers", "Authorization, Content-Type"},
                    {"Access-Control-Max-Age", "86400"}};
  return send_whole(connection, answer, "");
}

void HttpServer::Impl::completed(void** context, MHD_Connection* connection) {
  const std::unique_ptr<std::shared_ptr<Exchange>> held(static_cast<std::shared_ptr<Exchange>*>(*context));
  *context = nullptr;
  if (!held) return;
  (*held)->detach();
  if (!(*held)->received) body_bytes -= (*held)->request.body.size();
  {
    std::lock_guard lock(mutex);
    exchanges.erase(*held);
    if (Connection* known = connection_of(connection)) {
      known->reading = true;
      known->since = Clock::now();
    }
  }
  changed.notify_all();
}

HttpServer::HttpServer(const HttpOptions& options, std::vector<Route> routes)
    : impl_(std::make_unique<Impl>(options, std::move(routes))) {
  impl_->start();
}

HttpServer::~HttpServer() {
  Impl& self = *impl_;
  stop_listening();
  std::vector<std::shared_ptr<Exchange>> left;
  {
    std::lock_guard lock(self.mutex);
    self.stopping = true;
    left.assign(self.exchanges.begin(), self.exchanges.end());
  }
  self.changed.notify_all();
  self.watcher.join();
  for (const auto& exchange : left) exchange->end();
  left.clear();
  MHD_stop_daemon(self.daemon);
}

std::string HttpServer::address() const {
  const std::string& host = impl_->options.host;
  return "http://" + (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" +
         std::to_string(impl_->listening.port());
}

void HttpServer::stop_listening() {
  if (MHD_quiesce_daemon(impl_->daemon) != MHD_INVALID_SOCKET) impl_->listening.close();
}

bool HttpServer::wait_idle(std::chrono::milliseconds limit) {
  std::unique_lock lock(impl_->mutex);
  return impl_->changed.wait_for(lock, limit, [&] { return impl_->exchanges.empty(); });
}

HttpServer::Counts HttpServer::counts() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->counts;
}

}  // namespace pare
