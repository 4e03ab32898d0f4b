// What this process uses and what the machine has.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace pare {

uint64_t current_rss_bytes();       // resident now; 0 where /proc is absent
uint64_t peak_rss_bytes();          // the highest since the start (or since reset_peak_rss)
void reset_peak_rss();              // where the kernel allows it
uint64_t available_memory_bytes();  // what could be taken without swapping, cgroup limits included
// The same of one cgroup (version 2), by its folder; the largest number where it sets no limit.
uint64_t available_in_cgroup_bytes(const std::filesystem::path& cgroup);
std::string cpu_name();

// For work on large arrays over a long time: blocks of 8 MB and more go back to the system when freed, so does the end
// of the heap, and all threads share two heaps. What lives long beside short-lived arrays should lie on pages of its
// own (ActivationStore). Without both the heap of a run filled with holes: 25 MB for each block of SmolLM2, 1.4 GB at
// the end. At most once, before the first threads.
void keep_heap_compact();
// All whole pages that lie free in the heap, its holes too; some ms. After each large piece of work.
void give_back_free_heap();

}  // namespace pare
