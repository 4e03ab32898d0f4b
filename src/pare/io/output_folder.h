// An output appears whole or not at all: a folder, or a few files that lie where it would.
//
// Files are made in OUT.partial-<pid>/ on the same file system, each one fsynced; `commit` fsyncs the folder, renames
// it to OUT and fsyncs the parent. Without commit everything is removed again, and never anything that was there
// before.
//
// A few files are renamed one by one, which a kill can cut in two. So a list of them is put into OUT.partial-<pid>/
// first: from then on the output is finished, and whoever finds the list of a dead process goes on with it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pare {

class OutputFolder {
 public:
  // `files`: not a folder appears, but these files of it, beside where it would; the last one last.
  // Throws UsageError when `final_path`, or one of `files`, exists already (unless an empty folder), or when it lies in
  // or holds one of `inputs`; ResourceError when its parent cannot be written.
  // `check` alone makes nothing: for the start of long work.
  static void check(const std::filesystem::path& final_path, std::span<const std::filesystem::path> inputs,
                    std::span<const std::string> files = {});
  explicit OutputFolder(const std::filesystem::path& final_path, std::span<const std::filesystem::path> inputs = {},
                        std::vector<std::string> files = {});
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return partial_; }  // where to write until commit
  void write_file(const std::filesystem::path& name, std::string_view text);
  void copy_file(const std::filesystem::path& source, const std::filesystem::path& name);
  void commit();

  // What a run that was killed while it committed had left to rename. Before `check`: its files may be there then.
  static void finish_killed(const std::filesystem::path& final_path);

 private:
  std::filesystem::path place_for(const std::filesystem::path& name) const;
  void commit_files();

  std::filesystem::path final_, partial_;
  std::vector<std::string> files_;
  bool finished_ = false;  // nothing to take back
};

// One file, the same way: written beside its place as NAME.partial-<pid>, fsynced, renamed. Throws ResourceError.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// Throws ResourceError ("needs 4.2 GB, /data has 1.1 GB free") when the file system of `path` has too little room.
void require_free_space(const std::filesystem::path& path, uint64_t bytes);

}  // namespace pare
