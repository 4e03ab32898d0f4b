#include "pare/base/log.h"

#include <unistd.h>

#include <cstdio>
#include <mutex>
#include <string>

namespace pare {
namespace {

std::mutex mutex;
Level current_level = Level::info;
std::string status;

void write_status() {
  if (!status.empty()) std::fprintf(stderr, "\r\033[K%s", status.c_str());
}

}  // namespace

void set_log_level(Level level) {
  current_level = level;
}
Level log_level() {
  return current_level;
}
bool stderr_is_terminal() {
  return isatty(STDERR_FILENO) != 0;
}

void log_line(Level level, std::string_view text) {
  if (level > current_level) return;
  std::lock_guard lock(mutex);
  if (!status.empty()) std::fputs("\r\033[K", stderr);
  std::fprintf(stderr, "%s%.*s\n", level == Level::warning ? "warning: " : "", static_cast<int>(text.size()),
               text.data());
  write_status();
  std::fflush(stderr);
}

void set_status_line(std::string_view text) {
  if (!stderr_is_terminal() || current_level == Level::quiet) return;
  std::lock_guard lock(mutex);
  if (text.empty() && !status.empty()) std::fputs("\r\033[K", stderr);
  status = text;
  write_status();
  std::fflush(stderr);
}

}  // namespace pare
