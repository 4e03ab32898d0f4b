#include "pare/hub/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/io/output_folder.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void cannot(const fs::path& path, const std::string& doing, const std::string& why) {
  throw ResourceError(path.string() + ": cannot " + doing + ": " + why +
                      ". --cache FOLDER (or HF_HUB_CACHE) chooses another place");
}

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) cannot(path, "make this folder", error.message());
}

std::string folder_name(const std::string& repo) {
  std::string name = "models--" + repo;
  name.replace(name.find('/'), 1, "--");
  return name;
}

}  // namespace

HubCache::HubCache(const fs::path& root, const std::string& repo)
    : root_(root), folder_(root / folder_name(repo)), locks_(root / ".locks" / folder_name(repo)) {}

fs::path HubCache::incomplete(const HubFile& file) const {
  return folder_ / "blobs" / (file.blob() + ".incomplete");
}

bool HubCache::has_blob(const HubFile& file) const {
  std::error_code error;
  return fs::is_regular_file(blob(file), error) && fs::file_size(blob(file), error) == file.bytes;
}

bool HubCache::has(const std::string& commit, const HubFile& file) const {
  std::error_code error;
  const fs::path place = snapshot(commit) / file.path;
  if (!fs::is_regular_file(place, error) || fs::file_size(place, error) != file.bytes) return false;
  // a link made when the file was another one leads to another name
  return !fs::is_symlink(place, error) || fs::read_symlink(place, error).filename() == file.blob();
}

std::optional<std::string> HubCache::commit_of(const std::string& revision) const {
  if (is_hex(revision, 40)) return revision;
  std::ifstream file(folder_ / "refs" / revision, std::ios::binary);
  std::string commit(40, '\0');
  if (!file.read(commit.data(), 40) || !is_hex(commit, 40)) return std::nullopt;
  return commit;
}

std::vector<HubFile> HubCache::files_of(const std::string& commit) const {
  std::vector<HubFile> files;
  std::error_code error;
  const fs::path top = snapshot(commit);
  for (const auto& entry : fs::recursive_directory_iterator(top, error)) {
    HubFile file;
    file.path = entry.path().lexically_relative(top).string();
    file.bytes = entry.is_regular_file(error) ? entry.file_size(error) : 0;
    if (entry.is_regular_file(error) && fault_of_path(file.path).empty()) files.push_back(file);
  }
  return files;
}

void HubCache::make_folders() const {
  for (const fs::path& path : {folder_ / "blobs", folder_ / "snapshots", folder_ / "refs", locks_}) make_folder(path);
  // says to programs that make backups that this can be loaded again
  std::error_code error;
  if (fs::exists(root_ / "CACHEDIR.TAG", error)) return;
  std::ofstream(root_ / "CACHEDIR.TAG")
      << "Signature: 8a477f597d28d172789f06886806bc55\n"
         "# A cache of models from the Hugging Face hub. https://bford.info/cachedir/\n";
}

void HubCache::link(const std::string& commit, const HubFile& file) const {
  if (has(commit, file)) return;
  const fs::path place = snapshot(commit) / file.path;
  make_folder(place.parent_path());
  const fs::path target = blob(file).lexically_relative(place.parent_path());
  // made beside its place and renamed: a link that was there is never missing for a reader
  static std::atomic<unsigned> number = 0;
  const fs::path fresh = place.parent_path() / (".pare-" + std::to_string(::getpid()) + "-" + std::to_string(number++));
  std::error_code error;
  fs::create_symlink(target, fresh, error);
  if (!error) {
    fs::rename(fresh, place, error);
    if (error) fs::remove(fresh, error);
  } else if (error == std::errc::operation_not_permitted || error == std::errc::function_not_supported ||
             error == std::errc::operation_not_supported) {
    fs::rename(blob(file), place, error);  // a file system without links: the file itself, as huggingface_hub does
  }
  if (!has(commit, file)) cannot(place, "make a link to " + target.string(), error.message());
}

void HubCache::remember(const std::string& revision, const std::string& commit) const {
  if (revision == commit || commit_of(revision) == commit) return;
  const fs::path place = folder_ / "refs" / revision;
  make_folder(place.parent_path());
  write_file_atomically(place, commit);
}

HubCache::Lock::Lock(const HubCache& cache, const HubFile& file, const std::function<bool()>& stopped) {
  const fs::path path = cache.locks_ / (file.blob() + ".lock");
  bool told = false;
  while (!stopped()) {
    // others of its group may share the cache: huggingface_hub makes them so too
    descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
    if (descriptor_ < 0) cannot(path, "open", std::strerror(errno));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) {
      struct stat info {};
      if (::fstat(descriptor_, &info) == 0 && info.st_nlink > 0) return;
    } else if (errno != EWOULDBLOCK && errno != EINTR) {
      return;  // a file system without locks: two may load the same, and the hash is what counts
    } else if (!told) {
      told = true;
      log_line(Level::info, file.path + ": somebody else is loading it, waiting");
    }
    ::close(descriptor_);
    descriptor_ = -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

HubCache::Lock::~Lock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace pare
