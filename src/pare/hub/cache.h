// The cache of huggingface_hub, on disk as they lay it out, so that what either loads the other finds:
//
//   CACHE/models--ORG--NAME/blobs/HASH                  content, by the hub's name for it; HASH.incomplete on the way
//   CACHE/models--ORG--NAME/snapshots/COMMIT/a/b.json   -> ../../../blobs/HASH
//   CACHE/models--ORG--NAME/refs/main                   the commit, no end of line
//   CACHE/.locks/models--ORG--NAME/HASH.lock            flock()ed while HASH is being made
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pare/hub/listing.h"

namespace pare {

class HubCache {
 public:
  HubCache(const std::filesystem::path& root, const std::string& repo);

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path blob(const HubFile& file) const { return folder_ / "blobs" / file.blob(); }
  std::filesystem::path incomplete(const HubFile& file) const;
  std::filesystem::path snapshot(const std::string& commit) const { return folder_ / "snapshots" / commit; }

  // Whether the snapshot, or else the blobs, have the file in its full size.
  bool has(const std::string& commit, const HubFile& file) const;
  bool has_blob(const HubFile& file) const;

  // The commit that a revision stood for when it was last loaded.
  std::optional<std::string> commit_of(const std::string& revision) const;
  // The files of a snapshot, with their sizes and no hashes.
  std::vector<HubFile> files_of(const std::string& commit) const;

  // The folders, before anything is written. These throw ResourceError.
  void make_folders() const;
  void link(const std::string& commit, const HubFile& file) const;
  void remember(const std::string& revision, const std::string& commit) const;

  // Held until it is destroyed. Waits for another process or thread that holds it, unless `stopped`.
  class Lock {
   public:
    Lock(const HubCache& cache, const HubFile& file, const std::function<bool()>& stopped);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    int descriptor_ = -1;
  };

 private:
  std::filesystem::path root_, folder_, locks_;
};

}  // namespace pare
