// What a user is told when a command throws, and with which exit code it ends.
#pragma once

#include <exception>
#include <string>

#include "pare/base/error.h"

namespace pare {

struct Failure {
  std::string message;
  Exit code;
};

// `command`: "compress", for what to do about it. torch's own errors for memory that could not be had are recognised by
// their words, since this library knows no torch; their backtrace helps nobody then.
Failure describe_failure(const std::exception& error, const std::string& command);

}  // namespace pare
