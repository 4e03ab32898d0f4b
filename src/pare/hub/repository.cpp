#include "pare/hub/repository.h"

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/base/json.h"
#include "pare/base/units.h"
#include "pare/hub/patience.h"

namespace pare {
namespace {

constexpr size_t kMaxAnswer = size_t{64} << 20, kMaxPages = 1000;

HttpClient::Sink into(std::string& text) {
  text.clear();
  return [&text](const HttpResponse&, std::span<const std::byte> bytes) {
    if (bytes.size() > kMaxAnswer - text.size()) {
      throw InputError("pull: the hub's answer is longer than " + format_bytes(kMaxAnswer) + ", which no listing is");
    }
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return true;
  };
}

// Every "name" and "id" in the hub's lists of branches and of repositories.
void collect_names(const nlohmann::json& value, std::vector<std::string>& names) {
  for (auto item = value.begin(); item != value.end(); ++item) {
    if (item->is_structured()) collect_names(*item, names);
    if (value.is_object() && (item.key() == "name" || item.key() == "id") && item->is_string()) {
      if (fault_of_path(item->get<std::string>()).empty()) names.push_back(item->get<std::string>());
    }
  }
}

}  // namespace

HubRepository::HubRepository(const HubSettings& settings, std::string repo, std::string revision,
                             std::function<bool()> stopped)
    : settings_(settings),
      repo_(std::move(repo)),
      revision_(std::move(revision)),
      api_(settings.endpoint + "/api/models/" + repo_),
      stopped_(std::move(stopped)),
      client_(settings, stopped_) {}

std::string HubRepository::file_url(const std::string& commit, const std::string& path) const {
  return settings_.endpoint + "/" + repo_ + "/resolve/" + commit + "/" + url_quoted(path, /*keep_slashes=*/true);
}

HttpResponse HubRepository::get_text(const std::string& url, const std::string& what, std::string& text) {
  Patience patience(repo_, stopped_);
  while (true) {
    HttpResponse response = client_.get(url, 0, into(text));
    stop_if_interrupted();
    if (response.is_whole()) return response;
    if (!is_worth_another_try(response)) explain(response, what);
    patience.wait_after(response, /*progress=*/false);
    stop_if_interrupted();
  }
}

HubRevision HubRepository::list() {
  HubRevision revision;
  std::string text;
  get_text(api_ + "/revision/" + url_quoted(revision_, /*keep_slashes=*/false), "revision " + revision_, text);
  revision.commit = parse_commit(text, repo_ + ": revision " + revision_);
  const std::string where = repo_ + ": the hub's listing of " + revision.commit;
  std::string url = api_ + "/tree/" + revision.commit + "?recursive=true&expand=false";
  for (size_t page = 0; !url.empty(); ++page) {
    if (page == kMaxPages) throw InputError(where + ": has more than " + std::to_string(kMaxPages) + " pages");
    const HttpResponse response = get_text(url, "the list of files", text);
    parse_tree_page(text, where, revision.files);
    url = next_page(response.header("link"));
  }
  check_listing(revision.files, where);
  return revision;
}

// Of the names in a list of the API: the one nearest to `word`, as " Did you mean X?"; a hint, so no second try.
std::string HubRepository::nearest(const std::string& url, const std::string& word) {
  std::string text;
  try {
    if (!client_.get(url, 0, into(text)).is_whole()) return "";
    std::vector<std::string> names;
    collect_names(parse_json(text, "hint", {.values = 100'000}), names);
    const std::string near = nearest_word(word, names);
    return near.empty() || near == word ? "" : " Did you mean " + near + "?";
  } catch (const Error&) {
    return "";
  }
}

void HubRepository::explain(const HttpResponse& refusal, const std::string& what) {
  const std::string code = refusal.header("x-error-code"), words = refusal.header("x-error-message");
  const std::string page = settings_.endpoint + "/" + repo_, tokens = settings_.endpoint + "/settings/tokens";
  const bool has_token = !settings_.token.empty();
  const std::string said = repo_ + ": " + what + ": " + describe(refusal);
  if (!refusal.problem.empty() || !refusal.from_hub) throw Error(Exit::failed, said);
  if (refusal.status == 403 || code == "GatedRepo") {
    throw InputError(
        repo_ + ": gated, the hub wants its terms accepted first" + (words.empty() ? "" : " (" + words + ")") +
        ". Accept them at " + page + (has_token ? " with the account of your token" : "") + ", then " +
        (has_token ? "give the same command; a fine-grained token also needs the right to read gated "
                     "repositories (" +
                         tokens + ")"
                   : "set HF_TOKEN to a token of that account (" + tokens + ") and give the same command"));
  }
  if (code == "RevisionNotFound" || (refusal.status == 404 && what == "revision " + revision_ && code.empty())) {
    const std::string hint = nearest(api_ + "/refs", revision_);
    if (code == "RevisionNotFound" || !hint.empty()) {
      throw InputError(repo_ + ": no branch, tag or commit " + revision_ + "." + hint);
    }
  }
  if (refusal.status == 401 && words.find("nvalid") != std::string::npos && has_token) {
    throw InputError(repo_ + ": the hub does not take the token that is set (" + words + "). Make one at " + tokens +
                     " and set HF_TOKEN, or unset it");
  }
  if (code == "EntryNotFound") throw InputError(said + ". It was listed a moment ago: was it removed?");
  if (refusal.status == 401 || refusal.status == 404) {
    const std::string name = repo_.substr(repo_.find('/') + 1);
    const std::string hint =
        nearest(settings_.endpoint + "/api/models?limit=20&search=" + url_quoted(name, false), repo_);
    throw InputError(repo_ + ": no such repository on " + settings_.endpoint + ", or a private or gated one" +
                     (has_token ? " that the token has no right to"
                                : ": set HF_TOKEN to a token that may read it (" + tokens + ")") +
                     "." + hint);
  }
  throw Error(Exit::failed, said);
}

}  // namespace pare
