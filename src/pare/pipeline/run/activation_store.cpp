#include "pare/pipeline/run/activation_store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "pare/base/error.h"

namespace pare {
namespace {

[[noreturn]] void fail(const std::filesystem::path& folder, const char* doing) {
  throw ResourceError(folder.string() + ": cannot " + doing + " activations on disk: " + std::strerror(errno));
}

// Pages of its own, which go back to the system with it: as many megabytes of holes in the heap would stay.
at::Tensor copy_on_own_pages(const at::Tensor& values) {
  const size_t bytes = values.nbytes();
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) {
    throw ResourceError("out of memory: no " + std::to_string(bytes) +
                        " bytes for activations. Use --memory, which keeps them on disk, or fewer --samples");
  }
  at::Tensor copy = at::from_blob(
      pages, values.sizes(), [bytes](void* start) { ::munmap(start, bytes); }, at::kFloat);
  return copy.copy_(values);
}

}  // namespace

ActivationStore::ActivationStore(const std::filesystem::path& spill_folder) : folder_(spill_folder) {
  if (spill_folder.empty()) return;
  std::string path = (spill_folder / "activations.XXXXXX").string();
  file_ = ::mkstemp(path.data());
  if (file_ < 0) fail(folder_, "make a file for");
  ::unlink(path.c_str());
}

ActivationStore::~ActivationStore() {
  if (file_ >= 0) ::close(file_);
}

void ActivationStore::push_back(const at::Tensor& values) {
  PARE_ASSERT(values.scalar_type() == at::kFloat);
  shapes_.push_back(values.sizes().vec());
  offsets_.push_back(end_);
  end_ += values.numel() * static_cast<int64_t>(sizeof(float));
  if (file_ < 0) {
    in_memory_.push_back(copy_on_own_pages(values));
  } else {
    set(shapes_.size() - 1, values);
  }
}

void ActivationStore::set(size_t batch, const at::Tensor& values) {
  if (file_ < 0) {
    // into the memory that is there: long-lived tensors among the short-lived ones of a block would leave holes
    in_memory_[batch].copy_(values.view(shapes_[batch]));
    return;
  }
  const at::Tensor dense = values.contiguous();
  PARE_ASSERT(dense.sizes() == at::IntArrayRef(shapes_[batch]));
  const char* bytes = static_cast<const char*>(dense.const_data_ptr());
  const int64_t size = dense.numel() * static_cast<int64_t>(sizeof(float));
  for (int64_t done = 0; done < size;) {
    const ssize_t written = ::pwrite(file_, bytes + done, static_cast<size_t>(size - done), offsets_[batch] + done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(folder_, "write");
    done += written;
  }
}

at::Tensor ActivationStore::get(size_t batch) const {
  if (file_ < 0) return in_memory_[batch];
  at::Tensor values = at::empty(shapes_[batch], at::kFloat);
  char* bytes = static_cast<char*>(values.mutable_data_ptr());
  const int64_t size = values.numel() * static_cast<int64_t>(sizeof(float));
  for (int64_t done = 0; done < size;) {
    const ssize_t count = ::pread(file_, bytes + done, static_cast<size_t>(size - done), offsets_[batch] + done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail(folder_, "read back");
    done += count;
  }
  return values;
}

}  // namespace pare
