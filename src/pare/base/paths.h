// Small questions about paths.
#pragma once

#include <cstdint>
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

}  // namespace pare
