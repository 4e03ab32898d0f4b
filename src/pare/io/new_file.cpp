#include "pare/io/new_file.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "pare/base/error.h"
#include "pare/base/units.h"

namespace pare {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* doing, int error) {
  throw ResourceError(path.string() + ": cannot " + doing + ": " + std::strerror(error));
}

}  // namespace

NewFile::NewFile(const std::filesystem::path& path, uint64_t bytes) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail(path, "create", errno);
  if (bytes == 0) return;
  const int error = ::posix_fallocate(descriptor_, 0, static_cast<off_t>(bytes));
  if (error == 0) return;
  // a file system that cannot reserve: the size alone, so that gaps read as zeros
  if ((error == EOPNOTSUPP || error == EINVAL) && ::ftruncate(descriptor_, static_cast<off_t>(bytes)) == 0) return;
  ::close(descriptor_);
  ::unlink(path.c_str());
  descriptor_ = -1;
  struct statvfs space {};
  const bool known = ::statvfs(path.parent_path().empty() ? "." : path.parent_path().c_str(), &space) == 0;
  throw ResourceError(path.string() + ": needs " + format_bytes(bytes) +
                      (known ? ", " + format_bytes(space.f_bavail * space.f_frsize) + " are free" : "") + ": " +
                      std::strerror(error));
}

NewFile::~NewFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(path_.c_str());
}

void NewFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path_, "write", errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

void NewFile::finish() {
  if (::fsync(descriptor_) != 0) fail(path_, "sync", errno);
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (::close(descriptor) != 0) fail(path_, "close", errno);
}

}  // namespace pare
