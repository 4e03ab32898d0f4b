// A repository of the hub, asked over its API.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pare/hub/http.h"
#include "pare/hub/listing.h"
#include "pare/hub/settings.h"

namespace pare {

struct HubRevision {
  std::string commit;
  std::vector<HubFile> files;
};

class HubRepository {
 public:
  HubRepository(const HubSettings& settings, std::string repo, std::string revision, std::function<bool()> stopped);

  // Both calls, and as many pages as there are. Throws as explain() does; Error when the network fails; Interrupted.
  HubRevision list();

  std::string file_url(const std::string& commit, const std::string& path) const;

  // Throws InputError with the way out for an answer that is a refusal: no such repository or revision (with the
  // nearest that there is), gated, private, a token that is none.
  [[noreturn]] void explain(const HttpResponse& refusal, const std::string& what);

 private:
  HttpResponse get_text(const std::string& url, const std::string& what, std::string& text);
  std::string nearest(const std::string& url, const std::string& word);

  const HubSettings& settings_;
  std::string repo_, revision_, api_;
  std::function<bool()> stopped_;
  HttpClient client_;
};

}  // namespace pare
