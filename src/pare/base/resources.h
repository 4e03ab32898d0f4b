// What this process uses and what the machine has.
#pragma once

#include <cstdint>
#include <string>

namespace pare {

uint64_t current_rss_bytes();       // resident now; 0 where /proc is absent
uint64_t peak_rss_bytes();          // the highest since the start (or since reset_peak_rss)
void reset_peak_rss();              // where the kernel allows it
uint64_t available_memory_bytes();  // what could be taken without swapping, cgroup limits included
std::string cpu_name();

}  // namespace pare
