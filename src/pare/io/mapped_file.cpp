#include "pare/io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "pare/base/error.h"

namespace pare {

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  file->descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file->descriptor_ < 0) throw InputError(path.string() + ": cannot open: " + std::strerror(errno));
  struct stat info {};
  if (::fstat(file->descriptor_, &info) != 0)
    throw InputError(path.string() + ": cannot read its size: " + std::strerror(errno));
  if (!S_ISREG(info.st_mode)) throw InputError(path.string() + ": not a regular file");
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0) return file;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file->descriptor_, 0);
  if (address == MAP_FAILED)
    throw ResourceError(path.string() + ": cannot map " + std::to_string(size) + " bytes: " + std::strerror(errno));
  file->bytes_ = {static_cast<const std::byte*>(address), size};
  return file;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  if (descriptor_ >= 0) ::close(descriptor_);
}

void MappedFile::check_not_shrunk() const {
  struct stat info {};
  if (::fstat(descriptor_, &info) == 0 && static_cast<size_t>(info.st_size) >= bytes_.size()) return;
  throw InputError(path_.string() + ": was " + std::to_string(bytes_.size()) +
                   " bytes when it was opened and is shorter now; did another program write to it?");
}

void MappedFile::release(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace pare
