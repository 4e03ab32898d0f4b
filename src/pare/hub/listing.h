// What a repository of the hub holds, as its API says it. All of it is outside input: names, sizes and hashes are
// checked here, so that the rest may put a name below a folder and trust that it stays there.
//
//   GET /api/models/ORG/NAME/revision/REV             {"sha": commit, ...}
//   GET /api/models/ORG/NAME/tree/COMMIT?recursive=true
//       [{"type": "file", "path", "size", "oid", "lfs"?: {"oid", "size"}}, {"type": "directory", ...}]
//       1000 entries a page; the header Link: <URL>; rel="next" leads to the next one
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pare {

struct HubFile {
  std::string path;  // relative, '/' between folders
  uint64_t bytes = 0;
  std::string sha256;    // of an LFS file; empty for others
  std::string git_sha1;  // of other files: SHA-1 of "blob <bytes>\0" and the bytes

  // The name in the cache's folder of blobs: what the hub sends as (X-Linked-)ETag.
  const std::string& blob() const { return sha256.empty() ? git_sha1 : sha256; }
};

inline constexpr size_t kMaxHubFiles = 100'000;

// The commit that a revision stands for. Throws InputError.
std::string parse_commit(std::string_view json, const std::string& where);

// Adds the files of one page. Throws InputError naming the entry: a path that could leave the folder, that cannot be
// shown or is too long, a size or hash that is none, more than kMaxHubFiles.
void parse_tree_page(std::string_view json, const std::string& where, std::vector<HubFile>& files);

// After the last page: every path is there once, none is also a folder, the sizes have a sum. Throws InputError.
void check_listing(const std::vector<HubFile>& files, const std::string& where);

// The URL of rel="next" in a Link header; empty when there is none.
std::string next_page(std::string_view link_header);

bool is_hex(std::string_view text, size_t digits);

// Why `path` may not be put below a folder; empty when it may.
std::string fault_of_path(std::string_view path);

}  // namespace pare
