#include "pare/base/resources.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

namespace pare {
namespace {

// The number behind `key` in a file of lines "key   1234 unit"; 0 when absent.
uint64_t field(const std::filesystem::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    std::istringstream rest(line.substr(key.size()));
    uint64_t number = 0;
    rest >> number;
    return number;
  }
  return 0;
}

// The same of "Key:   1234 kB", in bytes.
uint64_t kilobytes_field(const char* path, const std::string& key) {
  return 1024 * field(path, key);
}

uint64_t number_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  return file >> number ? number : std::numeric_limits<uint64_t>::max();  // "max" in a cgroup file: no limit
}

}  // namespace

uint64_t current_rss_bytes() {
  return kilobytes_field("/proc/self/status", "VmRSS:");
}
uint64_t peak_rss_bytes() {
  return kilobytes_field("/proc/self/status", "VmHWM:");
}

void reset_peak_rss() {
  std::ofstream file("/proc/self/clear_refs");
  file << 5;  // proc(5): resets the high-water mark
}

uint64_t available_in_cgroup_bytes(const std::filesystem::path& cgroup) {
  constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();
  const uint64_t limit = number_in(cgroup / "memory.max"), current = number_in(cgroup / "memory.current");
  if (limit == kNoLimit || current == kNoLimit) return kNoLimit;
  // files read a while ago count as used and go as soon as somebody wants their memory
  const uint64_t reclaimable = std::min(current, field(cgroup / "memory.stat", "inactive_file "));
  const uint64_t used = current - reclaimable;
  return used < limit ? limit - used : 0;
}

uint64_t available_memory_bytes() {
  return std::min(kilobytes_field("/proc/meminfo", "MemAvailable:"), available_in_cgroup_bytes("/sys/fs/cgroup"));
}

void keep_heap_compact() {
#if defined(__GLIBC__)
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 8 << 20);  // a set threshold no longer grows by itself
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
}

void give_back_free_heap() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "unknown CPU";
}

}  // namespace pare
