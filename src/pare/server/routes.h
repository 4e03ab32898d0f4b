// The routes of `pare serve`.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "pare/server/http_server.h"
#include "pare/server/service.h"

namespace pare {

// The model, once it is there; until then every route that needs it answers 503, and so does /health.
class ServiceSlot {
 public:
  std::shared_ptr<Service> get() const;
  std::shared_ptr<Service> ready() const;  // ApiError while there is none
  void set(std::shared_ptr<Service> service);
  void set_draining() { draining_ = true; }
  bool draining() const { return draining_; }
  // For /metrics; the server must be alive while routes run.
  std::atomic<const HttpServer*> http = nullptr;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<Service> service_;
  std::atomic<bool> draining_ = false;
};

std::vector<HttpServer::Route> make_routes(ServiceSlot& slot);

std::string metrics_text(const HttpServer::Counts& http, const EngineStats& engine);  // Prometheus' text format

}  // namespace pare
