// A file being made: space reserved at once, every write and close checked, removed again unless it was finished.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace pare {

class NewFile {
 public:
  // Reserves `bytes` on disk. Throws ResourceError with path, need and free space.
  NewFile(const std::filesystem::path& path, uint64_t bytes);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  void finish();  // fsync and close

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace pare
