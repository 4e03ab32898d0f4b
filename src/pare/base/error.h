// The errors that a user of Pare can meet, each with the exit code of the command line.
//
// The user's mistake and the world's (disk, memory, damaged files) throw one of these, with what, where, what was
// expected and what to do. Our own mistakes are PARE_ASSERT: they abort.
#pragma once

#include <stdexcept>
#include <string>

namespace pare {

enum class Exit : int {
  ok = 0,
  failed = 1,       // failed while working
  usage = 2,        // wrong command line or recipe
  bad_input = 3,    // an input is damaged or incomplete
  unsupported = 4,  // model, format or CPU not supported
  resources = 5,    // out of memory, disk or device
  goal_missed = 6,  // quality or size goal not met; the result is kept
  interrupted = 130,
  terminated = 143,
};

class Error : public std::runtime_error {
 public:
  Error(Exit code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Exit code() const { return code_; }

 private:
  Exit code_;
};

struct UsageError : Error {
  explicit UsageError(const std::string& message) : Error(Exit::usage, message) {}
};
struct InputError : Error {
  explicit InputError(const std::string& message) : Error(Exit::bad_input, message) {}
};
struct UnsupportedError : Error {
  explicit UnsupportedError(const std::string& message) : Error(Exit::unsupported, message) {}
};
struct ResourceError : Error {
  explicit ResourceError(const std::string& message) : Error(Exit::resources, message) {}
};
// Thrown where long work notices Ctrl-C or SIGTERM (base/interrupt.h); what was done so far is on disk.
struct Interrupted : Error {
  explicit Interrupted(Exit code) : Error(code, "stopped") {}
};

[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace pare

// An invariant of ours. Never for what a user or a file can get wrong.
#define PARE_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::pare::assertion_failed(#condition, __FILE__, __LINE__))
