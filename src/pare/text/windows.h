// Token windows for calibration and evaluation, and the texts they come from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace pare {

// Windows of `length` tokens one behind the other; the last, shorter one is dropped. InputError when there is not one.
std::vector<std::vector<int32_t>> evaluation_windows(std::span<const int32_t> tokens, int64_t length);

// `samples` windows of `length` tokens. Window i begins at CounterRandom(seed, "calibration windows").below(i, tokens -
// length + 1): independent of the number of samples, and windows may overlap. A text of fewer than samples * length
// tokens is cut as for evaluation instead, into as many windows as there are (the caller says so). InputError, with the
// count, when that is none.
std::vector<std::vector<int32_t>> sample_windows(std::span<const int32_t> tokens, int64_t samples, int64_t length,
                                                 uint64_t seed);

// The files' texts as they stand, one behind the other. InputError for a file that is missing, empty or not text
// (it holds a zero byte).
std::string read_text_files(const std::vector<std::filesystem::path>& paths);

}  // namespace pare
