#include "pare/hub/listing.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/base/json.h"

namespace pare {
namespace {

using nlohmann::json;

// Longest path of a file system less a long cache folder.
constexpr size_t kMaxPath = 2048, kMaxPathPart = 255;

const json* member(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string text_of(const json& object, const char* key, const std::string& where) {
  const json* value = member(object, key);
  if (value == nullptr || !value->is_string()) throw InputError(where + ": no text \"" + key + "\"");
  return value->get<std::string>();
}

uint64_t size_of(const json& object, const std::string& where) {
  const json* value = member(object, "size");
  if (value == nullptr || !value->is_number_unsigned() || value->get<uint64_t>() > uint64_t{INT64_MAX}) {
    throw InputError(where + ": its \"size\" is " + (value == nullptr ? "missing" : dump_json(*value)) +
                     ", not a number of bytes");
  }
  return value->get<uint64_t>();
}

std::string hash_of(const json& object, size_t digits, const std::string& where) {
  std::string hash = text_of(object, "oid", where);
  if (hash.starts_with("sha256:")) hash.erase(0, 7);  // some hubs write LFS hashes as LFS itself does
  if (!is_hex(hash, digits)) {
    throw InputError(where + ": its \"oid\" is no hash of " + std::to_string(digits) + " hexadecimal digits");
  }
  return hash;
}

}  // namespace

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string fault_of_path(std::string_view path) {
  if (path.empty()) return "is empty";
  if (path.size() > kMaxPath) return "is longer than " + std::to_string(kMaxPath) + " bytes";
  for (const char c : path) {
    // a terminal would obey them, and NUL ends a path
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return "has a control character";
  }
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty()) return "begins or ends with a slash, or has two in a row";
    if (part == "." || part == "..") return "has a part \"" + std::string(part) + "\" and could leave its folder";
    if (part.size() > kMaxPathPart) return "has a part longer than " + std::to_string(kMaxPathPart) + " bytes";
    begin = end + 1;
  }
  return "";
}

std::string parse_commit(std::string_view text, const std::string& where) {
  const json answer = parse_json(text, where, {.allow_duplicate_keys = true, .values = 4'000'000});
  if (!answer.is_object()) throw InputError(where + ": not a JSON object. Is this a hub?");
  const std::string commit = text_of(answer, "sha", where);
  if (!is_hex(commit, 40)) throw InputError(where + ": its \"sha\" is no commit of 40 hexadecimal digits");
  return commit;
}

void parse_tree_page(std::string_view text, const std::string& where, std::vector<HubFile>& files) {
  const json page = parse_json(text, where, {.allow_duplicate_keys = true, .values = 4'000'000});
  if (!page.is_array()) throw InputError(where + ": not a JSON list of files. Is this a hub?");
  for (const json& entry : page) {
    if (!entry.is_object()) throw InputError(where + ": an entry is not an object");
    if (text_of(entry, "type", where) != "file") continue;
    HubFile file;
    file.path = text_of(entry, "path", where);
    if (const std::string fault = fault_of_path(file.path); !fault.empty()) {
      // dumped: what cannot be shown is escaped
      throw InputError(where + ": the path " + dump_json(json(file.path.substr(0, 200))) + " " + fault);
    }
    const std::string here = where + ": " + file.path;
    file.bytes = size_of(entry, here);
    if (const json* lfs = member(entry, "lfs"); lfs != nullptr && lfs->is_object()) {
      file.bytes = size_of(*lfs, here + ": lfs");
      file.sha256 = hash_of(*lfs, 64, here + ": lfs");
    } else {
      file.git_sha1 = hash_of(entry, 40, here);
    }
    files.push_back(std::move(file));
    if (files.size() > kMaxHubFiles) {
      throw InputError(where + ": lists more than " + std::to_string(kMaxHubFiles) + " files");
    }
  }
}

void check_listing(const std::vector<HubFile>& files, const std::string& where) {
  std::vector<std::string> paths;
  uint64_t total = 0;
  for (const HubFile& file : files) {
    const auto sum = checked_add(total, file.bytes);
    if (!sum) throw InputError(where + ": the sizes of its files have no sum that fits in 64 bits");
    total = *sum;
    paths.push_back(file.path + '/');
  }
  // With a slash behind each a folder stands before what is in it, and nothing else between.
  std::sort(paths.begin(), paths.end());
  for (size_t i = 1; i < paths.size(); ++i) {
    if (!paths[i].starts_with(paths[i - 1])) continue;
    const std::string path = paths[i - 1].substr(0, paths[i - 1].size() - 1);
    throw InputError(where + ": " + path +
                     (paths[i] == paths[i - 1] ? " is listed twice" : " is listed as a file and as a folder"));
  }
}

std::string next_page(std::string_view link) {
  // <URL>; rel="next", <URL>; rel="last"
  while (true) {
    const size_t begin = link.find('<'), end = link.find('>', begin);
    if (begin == std::string_view::npos || end == std::string_view::npos) return "";
    const std::string url(link.substr(begin + 1, end - begin - 1));
    const size_t next = link.find('<', end);
    const std::string_view parameters = link.substr(end, next == std::string_view::npos ? next : next - end);
    if (parameters.find("rel=\"next\"") != std::string_view::npos) return url;
    if (next == std::string_view::npos) return "";
    link.remove_prefix(next);
  }
}

}  // namespace pare
