// Journal: every solved block is on disk before the next one starts.
//
// A folder OUT.journal beside the output:
//   run.json          what this run is: fingerprints of model, recipe and calibration text, and Pare's version
//   block-00007.safetensors   the block's solved weights (weights/weight_store)
//   journal.log       one record a block:  u32 length | XXH3-128 of the payload, 32 hex digits | JSON payload
//
// A block's file is synced before its record is appended and synced. On opening, records are read up to the first one
// that is torn or does not hash; the rest is cut off. So a kill at any moment loses the block at work and no more, and
// the same command goes on and ends in the same bytes. Another run's journal is refused with what differs.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "pare/weights/weight.h"

namespace pare {

class Journal {
 public:
  // `identity`: by name, what must be the same for a run to go on ("model", "recipe", ...).
  // Makes the folder, or takes up the one that is there. UsageError when that belongs to another run, naming each
  // difference; ResourceError when it cannot be written or another process holds it.
  Journal(const std::filesystem::path& folder, const std::map<std::string, std::string>& identity);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  int64_t blocks_done() const;
  const std::vector<nlohmann::json>& records() const;  // [blocks_done], as they were given
  void append(const std::map<std::string, Weight>& weights, const nlohmann::json& record);  // the next block
  std::map<std::string, Weight> block(int64_t index) const;                                 // by layer name
  Weight weight(int64_t block, const std::string& layer) const;
  const std::filesystem::path& folder() const { return folder_; }
  void remove();  // the run is complete; nothing else may be called after

 private:
  std::filesystem::path block_path(int64_t index) const;

  std::filesystem::path folder_;
  std::unique_ptr<std::vector<nlohmann::json>> records_;
  int log_ = -1;
};

}  // namespace pare
