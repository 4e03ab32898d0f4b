// One file of the hub into the cache's blobs: goes on where an earlier try ended, and takes the name of its hash only
// when its bytes have that hash.
#pragma once

#include <functional>

#include "pare/hub/cache.h"
#include "pare/hub/http.h"

namespace pare {

struct DownloadWatch {
  std::function<void(int64_t)> on_bytes;  // so many more are on disk; negative: that were of no use
  std::function<bool()> stopped;
};

// Throws InputError (a hash or a size that is wrong twice), ResourceError (disk), Error (the network, in the end), or
// what `refuse` throws of an answer that no second try will change. When stopped it returns, and what came is kept.
void download(HttpClient& client, const HubCache& cache, const HubFile& file, const std::string& url,
              const DownloadWatch& watch, const std::function<void(const HttpResponse&)>& refuse);

}  // namespace pare
