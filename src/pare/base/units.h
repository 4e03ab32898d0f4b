// Sizes and times as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pare {

// "6GB", "512 MiB", "1.5e9", "800k": bytes. GB is 1e9, GiB is 2^30. Throws UsageError naming `what`.
uint64_t parse_bytes(std::string_view text, const std::string& what);

std::string format_bytes(uint64_t bytes);     // "4.7 GB", "512 B"; decimal units as disks are sold
std::string format_duration(double seconds);  // "3 h 05 min", "2 min 07 s", "1.3 s"

// The known word nearest to `word` by edit distance, for "did you mean"; empty when none is near.
std::string nearest_word(std::string_view word, const std::vector<std::string>& known);

}  // namespace pare
