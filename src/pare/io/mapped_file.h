// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace pare {

class MappedFile {
 public:
  // Throws InputError (missing, a folder, not readable) with the path and errno's words. An empty file maps to no
  // bytes.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }
  // Throws InputError when the file has been cut shorter since: reading the lost part would end the process (SIGBUS).
  void check_not_shrunk() const;
  // Tells the kernel that these pages will not be read again soon, so that resident memory follows the work.
  void release(std::span<const std::byte> part) const;

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::span<const std::byte> bytes_;
};

}  // namespace pare
