#include "pare/pipeline/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/fingerprint.h"
#include "pare/base/json.h"
#include "pare/io/output_folder.h"
#include "pare/weights/weight_store.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
constexpr size_t kHashDigits = 32;

[[noreturn]] void fail(const fs::path& path, const char* doing) {
  throw ResourceError(path.string() + ": cannot " + doing + ": " + std::strerror(errno));
}

std::string hash_of(std::string_view payload) {
  return Fingerprint().add(payload).hex();
}

void check_identity(const fs::path& folder, const std::map<std::string, std::string>& identity) {
  const fs::path path = folder / "run.json";
  const nlohmann::json found = read_json_file(path);
  std::string differences;
  for (const auto& [what, value] : identity) {
    if (!found.is_object() || !found.contains(what) || found[what] != value)
      differences += (differences.empty() ? "" : ", ") + what;
  }
  if (differences.empty()) return;
  throw UsageError(folder.string() + " holds an unfinished run with another " + differences +
                   ". Give that run's command to finish it, remove the folder, or choose another output");
}

struct Record {
  nlohmann::json payload;
  size_t end = 0;  // byte after it in the log
};

// Records up to the first torn or damaged one.
std::vector<Record> read_records(const std::string& log) {
  std::vector<Record> records;
  size_t at = 0;
  while (log.size() - at >= sizeof(uint32_t) + kHashDigits) {
    uint32_t length;
    std::memcpy(&length, log.data() + at, sizeof length);
    const size_t begin = at + sizeof length + kHashDigits;
    if (length > log.size() - begin) break;
    const std::string_view payload(log.data() + begin, length);
    if (hash_of(payload) != std::string_view(log.data() + at + sizeof length, kHashDigits)) break;
    at = begin + length;
    records.push_back({parse_json(payload, "journal.log"), at});
  }
  return records;
}

std::string read_log(int descriptor, const fs::path& path) {
  std::string log(fs::file_size(path), '\0');
  for (size_t done = 0; done < log.size();) {
    const ssize_t count = ::pread(descriptor, log.data() + done, log.size() - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, "read");
    if (count == 0) throw ResourceError(path.string() + ": became shorter while it was read");
    done += static_cast<size_t>(count);
  }
  return log;
}

}  // namespace

Journal::Journal(const fs::path& folder, const std::map<std::string, std::string>& identity)
    : folder_(folder), records_(std::make_unique<std::vector<nlohmann::json>>()) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw ResourceError(folder.string() + ": cannot make the journal's folder: " + error.message());
  const fs::path path = folder / "journal.log";
  log_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (log_ < 0) fail(path, "open");
  if (::flock(log_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) throw ResourceError(folder.string() + ": another pare is at work on this output");
    fail(path, "lock");
  }
  if (fs::exists(folder / "run.json")) {
    check_identity(folder, identity);
  } else {
    // Whose records these are is not known: they go before a name is put on them.
    if (::ftruncate(log_, 0) != 0 || ::fdatasync(log_) != 0) fail(path, "empty");
    write_file_atomically(folder / "run.json", dump_json(nlohmann::json(identity), 1) + "\n");
  }
  size_t end = 0;
  for (Record& record : read_records(read_log(log_, path))) {
    if (!fs::exists(block_path(blocks_done()))) break;
    records_->push_back(std::move(record.payload));
    end = record.end;
  }
  if (::ftruncate(log_, static_cast<off_t>(end)) != 0 || ::lseek(log_, 0, SEEK_END) < 0)
    fail(path, "cut a torn record off");
}

Journal::~Journal() {
  if (log_ >= 0) ::close(log_);
}

int64_t Journal::blocks_done() const {
  return static_cast<int64_t>(records_->size());
}
const std::vector<nlohmann::json>& Journal::records() const {
  return *records_;
}

fs::path Journal::block_path(int64_t index) const {
  std::string number = std::to_string(index);
  number.insert(0, 5 - std::min<size_t>(5, number.size()), '0');
  return folder_ / ("block-" + number + ".safetensors");
}

void Journal::append(const std::map<std::string, Weight>& weights, const nlohmann::json& record) {
  write_weight_store(block_path(blocks_done()), weights);
  const std::string payload = dump_json(record);
  const auto length = static_cast<uint32_t>(payload.size());
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  bytes += hash_of(payload) + payload;
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t written = ::write(log_, bytes.data() + done, bytes.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(folder_ / "journal.log", "write");
    done += static_cast<size_t>(written);
  }
  if (::fdatasync(log_) != 0) fail(folder_ / "journal.log", "sync");
  records_->push_back(record);
}

std::map<std::string, Weight> Journal::block(int64_t index) const {
  return read_weight_store(block_path(index));
}

Weight Journal::weight(int64_t block, const std::string& layer) const {
  return read_stored_weight(block_path(block), layer);
}

void Journal::remove() {
  // The records first and their name last: killed in between, nothing is left that a run could take for its own.
  std::error_code error;
  fs::remove(folder_ / "journal.log", error);
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    if (entry.path().filename() != "run.json") fs::remove_all(entry.path(), error);
  }
  fs::remove_all(folder_, error);
  ::close(log_);
  log_ = -1;
  if (error) throw ResourceError(folder_.string() + ": cannot remove the journal: " + error.message());
}

}  // namespace pare
