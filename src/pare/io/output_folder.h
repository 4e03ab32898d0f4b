// An output folder appears whole or not at all.
//
// Files are made in OUT.partial-<pid>/ on the same file system, each one fsynced; `commit` fsyncs the folder, renames
// it to OUT and fsyncs the parent. Without commit everything is removed again, and never anything that was there
// before.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace pare {

class OutputFolder {
 public:
  // Throws UsageError when `final_path` exists already (unless empty) or lies in / holds one of `inputs`;
  // ResourceError when its parent cannot be written.
  // `check` alone makes nothing: for the start of long work.
  static void check(const std::filesystem::path& final_path, std::span<const std::filesystem::path> inputs);
  explicit OutputFolder(const std::filesystem::path& final_path, std::span<const std::filesystem::path> inputs = {});
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return partial_; }  // where to write until commit
  void write_file(const std::filesystem::path& name, std::string_view text);
  void copy_file(const std::filesystem::path& source, const std::filesystem::path& name);
  void commit();
  // Instead: `name` alone becomes the path that was to be the folder, all else is dropped.
  void commit_file(const std::filesystem::path& name);

 private:
  std::filesystem::path place_for(const std::filesystem::path& name) const;

  std::filesystem::path final_, partial_;
  bool committed_ = false;
};

// One file, the same way: written beside its place as NAME.partial-<pid>, fsynced, renamed. Throws ResourceError.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// Throws ResourceError ("needs 4.2 GB, /data has 1.1 GB free") when the file system of `path` has too little room.
void require_free_space(const std::filesystem::path& path, uint64_t bytes);

}  // namespace pare
