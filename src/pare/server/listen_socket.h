// The socket that a server listens on, opened here so that a fault names the address.
#pragma once

#include <string>

namespace pare {

class ListenSocket {
 public:
  // UsageError: the name is unknown, the address is not of this machine, the port is taken or forbidden.
  ListenSocket(const std::string& host, int port);
  ~ListenSocket();
  ListenSocket(const ListenSocket&) = delete;
  ListenSocket& operator=(const ListenSocket&) = delete;

  int descriptor() const { return descriptor_; }
  int port() const { return port_; }
  bool loopback() const { return loopback_; }  // reached from this machine alone
  void close();

 private:
  int descriptor_ = -1;
  int port_ = 0;
  bool loopback_ = false;
};

bool is_loopback_host(const std::string& host);  // by resolving it; UsageError when unknown

}  // namespace pare
