// One request and its answer, shared by the HTTP thread, a worker and whoever wakes it. Internal to http_server.cpp.
#pragma once

#include <microhttpd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "pare/server/answer.h"

namespace pare {

class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(MHD_Connection* connection, int socket) : connection_(connection), socket_(socket) {}

  HttpRequest request;  // of the HTTP thread until the worker has it
  size_t route = 0;
  std::atomic<bool> received = false;  // handed to a worker; the watcher looks at it

  int socket() const { return socket_; }

  // A worker's: the answer is made, or begins to be.
  void answer_with(std::unique_ptr<Answer> answer);
  // Any thread: there is something to do for the HTTP thread.
  void wake();
  // The HTTP thread's: puts the connection to sleep, unless it was woken meanwhile (then false: look again).
  bool sleep();
  // The server stops: awake now, and never asleep again, since libmicrohttpd cannot stop while a connection sleeps.
  void end();
  bool ended() const { return ended_; }
  // The HTTP thread's: none until answer_with.
  Answer* answer();
  // Any thread: the client is gone.
  void abandon();
  // The HTTP thread's: the connection has done with it; wakes find nothing from here on.
  void detach();
  bool sleeping() const;

  std::string unsent;     // of a stream
  size_t sent = 0;        // bytes of it
  bool complete = false;  // nothing more to pull

 private:
  mutable std::mutex mutex_;
  MHD_Connection* connection_;  // null once detached
  const int socket_;
  std::unique_ptr<Answer> answer_;
  bool sleeping_ = false, woken_ = false, abandoned_ = false;
  std::atomic<bool> ended_ = false;
};

}  // namespace pare
