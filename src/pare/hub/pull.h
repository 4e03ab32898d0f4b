// A model of the hub, or one of its files, into the cache: listed, chosen, loaded by several connections, checked, and
// only then given its name in snapshots/ and refs/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "pare/hub/choose.h"
#include "pare/hub/settings.h"

namespace pare {

struct PullOptions {
  HubSettings settings;
  std::string repo;
  std::string revision = "main";  // a branch, a tag or a commit
  HubWish wish;
  int jobs = 8;  // files at once; huggingface_hub's number
  bool dry_run = false;
};

struct PullProgress {
  size_t files = 0, files_done = 0;
  uint64_t bytes = 0, bytes_done = 0;  // of what was missing at first
};

struct PullResult {
  std::string commit;
  std::filesystem::path path;  // the snapshot, or the model's file in it
  HubChoice choice;
  uint64_t missing_files = 0, missing_bytes = 0;  // that had to be loaded
};

struct PullWatch {
  std::function<void(const PullResult&)> on_plan;        // before the first byte of a file
  std::function<void(const PullProgress&)> on_progress;  // about ten times a second
};

// Throws UsageError, InputError, UnsupportedError, ResourceError, Error (network) or Interrupted; in each case what was
// loaded stays in the cache, and the same call goes on from there.
PullResult pull(const PullOptions& options, const PullWatch& watch);

}  // namespace pare
