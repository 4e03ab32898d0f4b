#include "pare/base/interrupt.h"

#include <csignal>

#include "pare/base/error.h"

namespace pare {
namespace {

volatile std::sig_atomic_t received = 0;

void on_signal(int signal_number) {
  received = signal_number;
  std::signal(signal_number, SIG_DFL);
}

}  // namespace

void watch_for_interrupts() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

void stop_if_interrupted() {
  if (received == 0) return;
  throw Interrupted(received == SIGINT ? Exit::interrupted : Exit::terminated);
}

}  // namespace pare
