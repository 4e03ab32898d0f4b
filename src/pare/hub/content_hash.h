// The hash by which the hub names a file's content: SHA-256 of LFS files, git's SHA-1 of others.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "pare/hub/listing.h"

namespace pare {

class ContentHash {
 public:
  explicit ContentHash(const HubFile& file);
  ~ContentHash();
  ContentHash(const ContentHash&) = delete;
  ContentHash& operator=(const ContentHash&) = delete;

  void restart();
  void add(std::span<const std::byte> bytes);
  std::string hex();  // ends it: restart() before more is added

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pare
