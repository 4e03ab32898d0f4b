#include "pare/server/listen_socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "pare/base/error.h"

namespace pare {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Addresses resolve(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int fault = getaddrinfo(host.empty() ? nullptr : host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (fault != 0)
    throw UsageError("--host " + host + ": " + gai_strerror(fault) + "; expected an address of this machine");
  return {found, &freeaddrinfo};
}

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    return (ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr) >> 24) == 127;
  }
  return address->sa_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

int port_of(int descriptor) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

}  // namespace

bool is_loopback_host(const std::string& host) {
  const Addresses addresses = resolve(host, 0);
  for (const addrinfo* each = addresses.get(); each != nullptr; each = each->ai_next) {
    if (!is_loopback(each->ai_addr)) return false;
  }
  return true;
}

ListenSocket::ListenSocket(const std::string& host, int port) {
  const Addresses addresses = resolve(host, port);
  int fault = 0;
  for (const addrinfo* each = addresses.get(); each != nullptr && descriptor_ < 0; each = each->ai_next) {
    descriptor_ = socket(each->ai_family, each->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, each->ai_protocol);
    const int yes = 1;
    if (descriptor_ >= 0) setsockopt(descriptor_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (descriptor_ >= 0 && bind(descriptor_, each->ai_addr, each->ai_addrlen) == 0 && listen(descriptor_, 511) == 0) {
      loopback_ = is_loopback(each->ai_addr);
      port_ = port_of(descriptor_);
      return;
    }
    fault = errno;
    close();
  }
  const std::string where = "cannot listen on " + host + " port " + std::to_string(port) + ": ";
  if (fault == EADDRINUSE) throw UsageError(where + "another program does. Give another --port, or 0 for any free one");
  if (fault == EACCES)
    throw UsageError(where + std::strerror(fault) + ". Ports below 1024 are for root: give a --port above");
  throw UsageError(where + std::strerror(fault) + ". Give --host an address of this machine");
}

ListenSocket::~ListenSocket() {
  close();
}

void ListenSocket::close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

}  // namespace pare
