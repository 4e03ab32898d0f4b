#include "pare/hub/download.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/base/units.h"
#include "pare/hub/content_hash.h"
#include "pare/hub/patience.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

// HASH.incomplete, appended to, with the hash of what is in it.
class PartialFile {
 public:
  PartialFile(fs::path path, const HubFile& file, const DownloadWatch& watch)
      : path_(std::move(path)), file_(file), watch_(watch), hash_(file) {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor_ < 0) fail("open", errno);
    take_over();
    // a full disk shows now, not after hours; a file system that cannot reserve does without
    if (::fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(std::max<uint64_t>(1, file.bytes))) != 0 &&
        (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
      const int error = errno;
      if (bytes_ == 0) ::unlink(path_.c_str());
      fail("reserve " + format_bytes(file.bytes), error);
    }
  }
  ~PartialFile() { ::close(descriptor_); }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  uint64_t bytes() const { return bytes_; }

  void append(std::span<const std::byte> bytes) {
    hash_.add(bytes);
    while (!bytes.empty()) {
      const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(bytes_));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("write", errno);
      bytes = bytes.subspan(static_cast<size_t>(written));
      bytes_ += static_cast<uint64_t>(written);
      watch_.on_bytes(written);
    }
  }

  void restart() {
    if (bytes_ > 0) watch_.on_bytes(-static_cast<int64_t>(bytes_));
    bytes_ = 0;
    hash_.restart();
    if (::ftruncate(descriptor_, 0) != 0) fail("shorten", errno);
  }

  std::string hash() { return hash_.hex(); }

  void finish(const fs::path& place) {
    if (::fsync(descriptor_) != 0) fail("sync", errno);
    if (::rename(path_.c_str(), place.c_str()) != 0) fail("rename to " + place.filename().string(), errno);
  }
  void remove() { ::unlink(path_.c_str()); }

 private:
  // The bytes of an earlier try, ours or huggingface_hub's.
  void take_over() {
    std::vector<std::byte> piece(size_t{1} << 20);
    while (!watch_.stopped()) {
      const ssize_t got = ::pread(descriptor_, piece.data(), piece.size(), static_cast<off_t>(bytes_));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail("read", errno);
      if (got == 0) break;
      hash_.add(std::span(piece).first(static_cast<size_t>(got)));
      bytes_ += static_cast<uint64_t>(got);
      watch_.on_bytes(got);
      if (bytes_ > file_.bytes) return restart();
    }
  }

  [[noreturn]] void fail(const std::string& doing, int error) const {
    throw ResourceError(path_.string() + ": cannot " + doing + " (" + file_.path + ", " + format_bytes(file_.bytes) +
                        "): " + std::strerror(error) +
                        ". What is there is kept: make room and give the same command, or choose another --cache");
  }

  fs::path path_;
  const HubFile& file_;
  const DownloadWatch& watch_;
  ContentHash hash_;
  int descriptor_ = -1;
  uint64_t bytes_ = 0;
};

// The first byte that a 206 begins with; nothing when it does not say so properly.
bool begins_at(const HttpResponse& response, uint64_t wanted) {
  const std::string range = response.header("content-range");  // bytes 100-199/200
  if (!range.starts_with("bytes ")) return false;
  uint64_t begin = 0;
  const auto [end, error] = std::from_chars(range.data() + 6, range.data() + range.size(), begin);
  return error == std::errc{} && end != range.data() + range.size() && *end == '-' && begin == wanted;
}

// What the hub's answer says of the whole file, where it says something.
std::string contradiction(const HttpResponse& response, const HubFile& file) {
  std::string etag = response.linked_etag;
  if (etag.starts_with("W/")) etag.erase(0, 2);
  if (etag.size() > 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  if (!etag.empty() && !file.sha256.empty() && etag != file.sha256) return "has the hash " + etag.substr(0, 100);
  if (!response.linked_size.empty() && response.linked_size != std::to_string(file.bytes)) {
    return "has " + response.linked_size.substr(0, 100) + " bytes";
  }
  return "";
}

}  // namespace

void download(HttpClient& client, const HubCache& cache, const HubFile& file, const std::string& url,
              const DownloadWatch& watch, const std::function<void(const HttpResponse&)>& refuse) {
  PartialFile partial(cache.incomplete(file), file, watch);
  Patience patience(file.path, watch.stopped);
  bool seen_wrong = false;
  // Once may be a proxy's page or a bad cable; twice is what the hub has.
  const auto wrong = [&](const std::string& what) {
    if (seen_wrong) {
      partial.remove();
      throw InputError(file.path + ": " + what + ", twice. Nothing of it was kept. A proxy on the way, or damaged at " +
                       url);
    }
    seen_wrong = true;
    log_line(Level::warning, file.path + ": " + what + "; loading it afresh");
    partial.restart();
  };
  while (!watch.stopped()) {
    if (partial.bytes() == file.bytes) {
      const std::string hash = partial.hash();
      if (hash == file.blob()) return partial.finish(cache.blob(file));
      wrong("its content has the hash " + hash + ", the hub's listing says " + file.blob());
      continue;
    }
    const uint64_t before = partial.bytes();
    bool checked = false, too_long = false;
    std::string lie;
    const HttpResponse response =
        client.get(url, before, [&](const HttpResponse& answer, std::span<const std::byte> bytes) {
          if (!checked) {
            checked = true;
            lie = contradiction(answer, file);
            if (!lie.empty()) return false;
            if (answer.status == 200 && before > 0) partial.restart();  // ranges are not known there
            if (answer.status == 206 && !begins_at(answer, before)) lie = "begins elsewhere than asked for";
            if (!lie.empty()) return false;
          }
          too_long = bytes.size() > file.bytes - partial.bytes();
          if (too_long) return false;
          partial.append(bytes);
          return !watch.stopped();
        });
    if (watch.stopped()) return;
    if (!lie.empty() || too_long) {
      wrong(too_long ? "the hub sends more than the " + std::to_string(file.bytes) + " bytes of its listing"
                     : "what the hub sends " + lie + ", and not what its listing says");
      continue;
    }
    if (partial.bytes() == file.bytes) continue;
    if (response.status == 416 && before > 0) {
      wrong("the hub has fewer than the " + std::to_string(before) + " bytes that are already here");
      continue;
    }
    if (!response.is_whole() && !is_worth_another_try(response)) refuse(response);
    HttpResponse cut = response;
    if (response.is_whole()) {
      cut.problem =
          "the answer ends after " + std::to_string(partial.bytes()) + " of " + std::to_string(file.bytes) + " bytes";
    }
    patience.wait_after(cut, partial.bytes() > before);
  }
}

}  // namespace pare
