#include "pare/io/output_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/base/paths.h"
#include "pare/base/units.h"
#include "pare/io/mapped_file.h"
#include "pare/io/new_file.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

fs::path parent_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw ResourceError(folder.string() + ": cannot open to sync: " + std::strerror(errno));
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  if (result != 0 && error != EINVAL) throw ResourceError(folder.string() + ": cannot sync: " + std::strerror(error));
}

bool lies_in(const fs::path& inner, const fs::path& outer) {
  auto i = inner.begin();
  for (auto o = outer.begin(); o != outer.end(); ++o, ++i) {
    if (i == inner.end() || *i != *o) return false;
  }
  return true;
}

// Folders that killed runs left: OUT.partial-<pid> whose process is gone.
std::vector<fs::path> left_by_killed(const fs::path& final_path) {
  const std::string prefix = final_path.filename().string() + ".partial-";
  std::vector<fs::path> left;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(parent_of(final_path), error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    pid_t pid = 0;
    const auto [end, fault] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), pid);
    if (fault != std::errc{} || end != name.data() + name.size() || pid <= 0) continue;
    if (::kill(pid, 0) != 0 && errno == ESRCH) left.push_back(entry.path());
  }
  return left;
}

// Names of the files that are to leave the folder, each followed by a zero byte.
constexpr const char* kPlacing = ".placing";

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += name + '\0';
  return text;
}

// Empty where there is none.
std::vector<std::string> read_list(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  if (!fs::exists(folder / kPlacing, error)) return names;
  const auto file = MappedFile::open(folder / kPlacing);
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\0', at), text.size());
    const std::string name(text.substr(at, end - at));
    if (fs::path(name).filename() != name || name == "..") return {};  // not a list of ours
    names.push_back(name);
    at = end + 1;
  }
  return names;
}

void put_in_place(const fs::path& folder, const std::vector<std::string>& names, const fs::path& place) {
  std::error_code error;
  for (const std::string& name : names) {
    if (fs::exists(place / name, error)) {
      throw ResourceError((place / name).string() +
                          ": was made by somebody else meanwhile. What was to be there is in " + folder.string());
    }
  }
  for (const std::string& name : names) {
    if (::rename((folder / name).c_str(), (place / name).c_str()) != 0) {
      throw ResourceError((place / name).string() + ": cannot rename " + (folder / name).string() +
                          " to it: " + std::strerror(errno));
    }
  }
  sync_folder(place);
  fs::remove_all(folder, error);
}

}  // namespace

void OutputFolder::finish_killed(const fs::path& final_path) {
  const fs::path path = without_trailing_slash(final_path);
  for (const fs::path& folder : left_by_killed(path)) {
    std::vector<std::string> names = read_list(folder);
    if (names.empty()) continue;
    std::error_code error;
    std::erase_if(names, [&](const std::string& name) { return !fs::exists(folder / name, error); });
    put_in_place(folder, names, parent_of(path));
    if (!names.empty()) log_line(Level::info, path.string() + ": put in place what a killed run had finished");
  }
}

void OutputFolder::check(const fs::path& path, std::span<const fs::path> inputs, std::span<const std::string> files) {
  const fs::path final_path = without_trailing_slash(path);  // else OUT/ and OUT.partial-1 are different places
  const fs::path parent = parent_of(final_path);
  std::error_code error;
  const fs::path out = fs::weakly_canonical(final_path, error);
  for (const fs::path& input : inputs) {
    const fs::path in = fs::weakly_canonical(input, error);
    if (lies_in(out, in) || lies_in(in, out)) {
      throw UsageError(final_path.string() + ": the output would lie in, hold or be the input " + input.string() +
                       ". Choose another -o");
    }
  }
  const auto refuse = [](const fs::path& existing) {
    throw UsageError(existing.string() + ": exists already. Choose another -o, or remove it first");
  };
  if (fs::exists(final_path, error) && !(fs::is_directory(final_path, error) && fs::is_empty(final_path, error))) {
    refuse(final_path);
  }
  for (auto file = files.rbegin(); file != files.rend(); ++file) {
    if (fs::exists(final_path.parent_path() / *file, error)) refuse(final_path.parent_path() / *file);
  }
  if (!fs::is_directory(parent, error))
    throw ResourceError(parent.string() + ": no such folder to write " + final_path.filename().string() + " into");
  if (::access(parent.c_str(), W_OK) != 0)
    throw ResourceError(parent.string() + ": cannot write there: " + std::strerror(errno));
}

OutputFolder::OutputFolder(const fs::path& final_path, std::span<const fs::path> inputs, std::vector<std::string> files)
    : final_(without_trailing_slash(final_path)), files_(std::move(files)) {
  check(final_, inputs, files_);
  std::error_code error;
  for (const fs::path& left : left_by_killed(final_)) fs::remove_all(left, error);
  partial_ = final_;
  partial_ += ".partial-" + std::to_string(::getpid());
  fs::remove_all(partial_, error);
  if (!fs::create_directory(partial_, error))
    throw ResourceError(partial_.string() + ": cannot make this folder: " + error.message());
}

OutputFolder::~OutputFolder() {
  std::error_code error;
  if (!finished_) fs::remove_all(partial_, error);
}

fs::path OutputFolder::place_for(const fs::path& name) const {
  const fs::path place = (partial_ / name).lexically_normal();
  PARE_ASSERT(name.is_relative() && lies_in(place, partial_.lexically_normal()));
  std::error_code error;
  fs::create_directories(place.parent_path(), error);
  if (error) throw ResourceError(place.parent_path().string() + ": cannot make this folder: " + error.message());
  return place;
}

void OutputFolder::write_file(const fs::path& name, std::string_view text) {
  NewFile file(place_for(name), text.size());
  file.write_at(0, std::as_bytes(std::span(text)));
  file.finish();
}

void OutputFolder::copy_file(const fs::path& source, const fs::path& name) {
  const auto mapped = MappedFile::open(source);
  NewFile file(place_for(name), mapped->bytes().size());
  file.write_at(0, mapped->bytes());
  file.finish();
}

void OutputFolder::commit() {
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(partial_, error)) {
    if (entry.is_directory()) sync_folder(entry.path());
  }
  if (!files_.empty()) {
    commit_files();
    return;
  }
  sync_folder(partial_);
  fs::remove(final_, error);  // an empty folder may be there; one that is not stays, and the rename says so
  if (::rename(partial_.c_str(), final_.c_str()) != 0) {
    throw ResourceError(final_.string() + ": cannot rename " + partial_.string() + " to it: " + std::strerror(errno));
  }
  finished_ = true;
  sync_folder(parent_of(final_));
}

void OutputFolder::commit_files() {
  write_file(kPlacing, list_of(files_));
  sync_folder(partial_);
  finished_ = true;
  put_in_place(partial_, files_, parent_of(final_));
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  fs::path partial = path;
  partial += ".partial-" + std::to_string(::getpid());
  NewFile file(partial, text.size());
  file.write_at(0, std::as_bytes(std::span(text)));
  file.finish();
  if (::rename(partial.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(partial.c_str());
    throw ResourceError(path.string() + ": cannot rename a new file to it: " + std::strerror(error));
  }
  sync_folder(parent_of(path));
}

void require_free_space(const fs::path& path, uint64_t bytes) {
  fs::path existing = path;
  std::error_code error;
  while (!fs::exists(existing, error) && existing.has_parent_path() && existing != existing.parent_path())
    existing = existing.parent_path();
  if (existing.empty() || !fs::exists(existing, error)) existing = ".";
  struct statvfs space {};
  if (::statvfs(existing.c_str(), &space) != 0) return;  // unknown: the reservation of each file will tell
  const uint64_t free_bytes = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  if (free_bytes < bytes) {
    throw ResourceError(path.string() + ": needs " + format_bytes(bytes) + " of disk, " + format_bytes(free_bytes) +
                        " are free. Make room, or choose another -o");
  }
}

}  // namespace pare
