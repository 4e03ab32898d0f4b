// Small questions about paths.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>

namespace pare {

// "out/" -> "out": else OUT + ".journal" and the parent of OUT's files are other places than meant.
inline std::filesystem::path without_trailing_slash(const std::filesystem::path& path) {
  return path.has_filename() || !path.has_relative_path() ? path : path.parent_path();
}

// Of the files in a folder, its subfolders' left out; 0 when there is no such folder.
inline uint64_t bytes_in_folder(const std::filesystem::path& folder) {
  uint64_t bytes = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.is_regular_file(error)) bytes += entry.file_size(error);
  }
  return bytes;
}

// Where Pare keeps what it can make again: PARE_CACHE, XDG_CACHE_HOME/pare or ~/.cache/pare. May not exist yet.
inline std::filesystem::path cache_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  if (const auto own = variable("PARE_CACHE"); !own.empty()) return own;
  if (const auto shared = variable("XDG_CACHE_HOME"); !shared.empty()) return shared / "pare";
  if (const auto home = variable("HOME"); !home.empty()) return home / ".cache" / "pare";
  return std::filesystem::temp_directory_path() / "pare-cache";
}

}  // namespace pare
