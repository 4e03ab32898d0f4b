#include "pare/base/json.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "pare/base/error.h"

namespace pare {
namespace {

template <class Json>
Json parse_guarded(std::string_view text, const std::string& where, const JsonLimits& limits) {
  std::vector<std::set<std::string>> keys;  // of each object that is still open
  size_t values = 0;
  auto watch = [&](int depth, typename Json::parse_event_t event, Json& value) {
    using Event = typename Json::parse_event_t;
    if (depth > limits.depth) throw InputError(where + ": nested more than " + std::to_string(limits.depth) + " deep");
    const bool one_more = event == Event::object_start || event == Event::array_start || event == Event::value;
    if (one_more && ++values > limits.values && limits.values > 0) {
      throw InputError(where + ": more than " + std::to_string(limits.values) + " values");
    }
    if (limits.allow_duplicate_keys) return true;
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end && !keys.empty()) keys.pop_back();
    if (event == Event::key && !keys.empty()) {
      const auto& key = value.template get_ref<const std::string&>();
      if (!keys.back().insert(key).second) throw InputError(where + ": key \"" + key + "\" appears twice");
      if (keys.back().size() > limits.keys) {
        throw InputError(where + ": an object with more than " + std::to_string(limits.keys) + " keys");
      }
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception& error) {
    throw InputError(where + ": not valid JSON: " + error.what());
  }
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  return parse_guarded<nlohmann::json>(text, where, limits);
}

nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  return parse_guarded<nlohmann::ordered_json>(text, where, limits);
}

std::string dump_json(const nlohmann::json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

nlohmann::json read_json_file(const std::filesystem::path& path, size_t max_bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError(path.string() + ": cannot open: " + std::strerror(errno));
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw InputError(path.string() + ": cannot read its size: " + error.message());
  if (size > max_bytes) {
    throw InputError(path.string() + ": " + std::to_string(size) + " bytes of JSON, at most " +
                     std::to_string(max_bytes) + " are read");
  }
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  if (static_cast<uint64_t>(file.gcount()) != size) throw InputError(path.string() + ": shorter than its size says");
  return parse_json(text, path.string());
}

}  // namespace pare
