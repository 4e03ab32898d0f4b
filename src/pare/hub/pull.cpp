#include "pare/hub/pull.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/base/json.h"
#include "pare/base/log.h"
#include "pare/base/units.h"
#include "pare/hub/cache.h"
#include "pare/hub/download.h"
#include "pare/hub/repository.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

bool was_interrupted() {
  try {
    stop_if_interrupted();
    return false;
  } catch (const Interrupted&) {
    return true;
  }
}

// Several workers over the missing files; the first that fails stops the others.
class Downloads {
 public:
  Downloads(const PullOptions& options, const HubCache& cache, HubRepository& repository, const std::string& commit,
            std::vector<HubFile> files)
      : options_(options), cache_(cache), repository_(repository), commit_(commit), files_(std::move(files)) {
    // the largest first: none of them begins when the others are done
    std::stable_sort(files_.begin(), files_.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
    now_.files = files_.size();
    now_.bytes = total_bytes(files_);
  }

  void run(const std::function<void(const PullProgress&)>& on_progress) {
    const size_t workers = std::min(files_.size(), static_cast<size_t>(options_.jobs));
    std::vector<std::thread> threads;
    for (size_t i = 0; i < workers; ++i) threads.emplace_back([this] { work(); });
    std::unique_lock lock(mutex_);
    while (done_workers_ < workers) {
      changed_.wait_for(lock, std::chrono::milliseconds(100));
      const PullProgress now = now_;
      lock.unlock();
      if (on_progress) on_progress(now);
      lock.lock();
    }
    lock.unlock();
    for (std::thread& thread : threads) thread.join();
    stop_if_interrupted();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  bool stopped() const { return failed_ || was_interrupted(); }

  void work() {
    try {
      HttpClient client(options_.settings, [this] { return stopped(); });
      for (size_t i = next_++; i < files_.size() && !stopped(); i = next_++) {
        load(client, files_[i]);
      }
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      failed_ = true;
    }
    std::lock_guard lock(mutex_);
    ++done_workers_;
    changed_.notify_all();
  }

  void load(HttpClient& client, const HubFile& file) {
    const HubCache::Lock lock(cache_, file, [this] { return stopped(); });
    if (stopped()) return;
    if (cache_.has_blob(file)) {  // meanwhile, by somebody else
      add(static_cast<int64_t>(file.bytes));
    } else {
      const DownloadWatch watch{[this](int64_t bytes) { add(bytes); }, [this] { return stopped(); }};
      download(client, cache_, file, repository_.file_url(commit_, file.path), watch, [&](const HttpResponse& refusal) {
        std::lock_guard explain_lock(explain_mutex_);  // the repository asks for hints over its own connection
        repository_.explain(refusal, file.path);
      });
      if (stopped()) return;
    }
    cache_.link(commit_, file);
    log_line(Level::detail, file.path + ": " + format_bytes(file.bytes) + ", hash checked");
    std::lock_guard done_lock(mutex_);
    ++now_.files_done;
  }

  void add(int64_t bytes) {
    std::lock_guard lock(mutex_);
    now_.bytes_done += static_cast<uint64_t>(bytes);
  }

  const PullOptions& options_;
  const HubCache& cache_;
  HubRepository& repository_;
  const std::string& commit_;
  std::vector<HubFile> files_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_, explain_mutex_;
  std::condition_variable changed_;
  size_t done_workers_ = 0;
  PullProgress now_;
  std::exception_ptr error_;
};

void require_room(const HubCache& cache, const std::vector<HubFile>& missing) {
  uint64_t need = 0;
  for (const HubFile& file : missing) {
    std::error_code error;
    const uint64_t there = fs::exists(cache.incomplete(file), error) ? fs::file_size(cache.incomplete(file), error) : 0;
    need += error || there > file.bytes ? file.bytes : file.bytes - there;
  }
  std::error_code error;
  const fs::space_info space = fs::space(cache.folder(), error);
  if (!error && space.available < need) {
    throw ResourceError(cache.folder().string() + ": needs " + format_bytes(need) + " of disk, " +
                        format_bytes(space.available) +
                        " are free. Make room, or choose another place with --cache or HF_HUB_CACHE");
  }
}

fs::path result_path(const HubCache& cache, const PullResult& result) {
  const fs::path snapshot = cache.snapshot(result.commit);
  return result.choice.model_file.empty() ? snapshot : snapshot / result.choice.model_file;
}

// Shards that the index names and the snapshot lacks: it was not loaded to its end.
void check_shards(const fs::path& snapshot) {
  const fs::path path = snapshot / "model.safetensors.index.json";
  std::error_code error;
  if (!fs::exists(path, error)) return;
  const nlohmann::json index = read_json_file(path);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) return;
  for (const auto& [tensor, shard] : map->items()) {
    if (shard.is_string() && !fs::exists(snapshot / shard.get<std::string>(), error)) {
      throw InputError(snapshot.string() + ": " + shard.get<std::string>() +
                       " is not there: loading was not finished. Unset HF_HUB_OFFLINE and give the same command");
    }
  }
}

PullResult from_cache(const PullOptions& options, const HubCache& cache) {
  PullResult result;
  const auto commit = cache.commit_of(options.revision);
  const std::vector<HubFile> files = commit ? cache.files_of(*commit) : std::vector<HubFile>();
  if (files.empty()) {
    throw InputError(options.repo + ": HF_HUB_OFFLINE is set, and revision " + options.revision + " is not in " +
                     options.settings.cache.string() + ". Unset it to load from " + options.settings.endpoint);
  }
  result.commit = *commit;
  result.choice = choose_files(files, options.wish, options.repo + " (what the cache has of it)");
  result.path = result_path(cache, result);
  if (result.choice.model_file.empty()) check_shards(cache.snapshot(*commit));
  return result;
}

}  // namespace

PullResult pull(const PullOptions& options, const PullWatch& watch) {
  const HubCache cache(options.settings.cache, options.repo);
  if (options.settings.offline) return from_cache(options, cache);

  HubRepository repository(options.settings, options.repo, options.revision, was_interrupted);
  HubRevision revision = repository.list();
  PullResult result;
  result.commit = revision.commit;
  result.choice = choose_files(revision.files, options.wish, options.repo);
  result.path = result_path(cache, result);

  std::vector<HubFile> missing, to_link;
  std::set<std::string> blobs;  // two files may be the same
  for (const HubFile& file : result.choice.files) {
    if (cache.has(revision.commit, file)) continue;
    to_link.push_back(file);
    if (!cache.has_blob(file) && blobs.insert(file.blob()).second) missing.push_back(file);
  }
  result.missing_files = missing.size();
  result.missing_bytes = total_bytes(missing);
  if (watch.on_plan) watch.on_plan(result);
  if (options.dry_run) return result;
  if (!to_link.empty()) {
    cache.make_folders();
    require_room(cache, missing);
    if (!missing.empty()) Downloads(options, cache, repository, revision.commit, missing).run(watch.on_progress);
    for (const HubFile& file : to_link) cache.link(revision.commit, file);
  }
  // last: until then the name stands for what it stood for, and that is whole
  cache.remember(options.revision, revision.commit);
  return result;
}

}  // namespace pare
