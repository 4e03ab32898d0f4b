#include "pare/text/windows.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "pare/base/error.h"
#include "pare/base/random.h"

namespace pare {
namespace {

void check(std::span<const int32_t> tokens, int64_t length) {
  if (length < 1) throw UsageError("a window of " + std::to_string(length) + " tokens: expected at least 1");
  if (static_cast<int64_t>(tokens.size()) < length) {
    throw InputError("the text has " + std::to_string(tokens.size()) + " tokens, a window takes " +
                     std::to_string(length) + ": give more text or a shorter length");
  }
}

std::vector<int32_t> window(std::span<const int32_t> tokens, size_t begin, int64_t length) {
  const auto part = tokens.subspan(begin, static_cast<size_t>(length));
  return {part.begin(), part.end()};
}

}  // namespace

std::vector<std::vector<int32_t>> evaluation_windows(std::span<const int32_t> tokens, int64_t length) {
  check(tokens, length);
  std::vector<std::vector<int32_t>> windows;
  const auto step = static_cast<size_t>(length);
  for (size_t begin = 0; begin + step <= tokens.size(); begin += step) windows.push_back(window(tokens, begin, length));
  return windows;
}

std::vector<std::vector<int32_t>> sample_windows(std::span<const int32_t> tokens, int64_t samples, int64_t length,
                                                 uint64_t seed) {
  if (samples < 1) throw UsageError(std::to_string(samples) + " samples: expected at least 1");
  check(tokens, length);
  const auto most = static_cast<int64_t>(tokens.size()) / length;
  if (most < samples) return evaluation_windows(tokens, length);
  const CounterRandom random(seed, "calibration windows");
  const uint64_t places = tokens.size() - static_cast<size_t>(length) + 1;
  std::vector<std::vector<int32_t>> windows;
  windows.reserve(static_cast<size_t>(samples));
  for (int64_t i = 0; i < samples; i++) {
    windows.push_back(window(tokens, random.below(static_cast<uint64_t>(i), places), length));
  }
  return windows;
}

std::string read_text_files(const std::vector<std::filesystem::path>& paths) {
  std::string text;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw InputError(path.string() + ": cannot open: " + std::strerror(errno));
    if (std::filesystem::is_directory(path)) throw InputError(path.string() + ": is a folder; expected a text file");
    const size_t before = text.size();
    char buffer[1 << 16];
    while (file.read(buffer, sizeof buffer), file.gcount() > 0) text.append(buffer, static_cast<size_t>(file.gcount()));
    if (file.bad()) throw InputError(path.string() + ": cannot read: " + std::strerror(errno));
    if (text.size() == before) throw InputError(path.string() + ": is empty; expected text");
    const size_t zero = text.find('\0', before);
    if (zero != std::string::npos) {
      throw InputError(path.string() + ": has a zero byte at " + std::to_string(zero - before) +
                       ", so it is not text; give plain UTF-8 text");
    }
  }
  return text;
}

}  // namespace pare
