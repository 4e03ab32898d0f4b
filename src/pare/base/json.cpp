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

// Looks at every value and keeps none. As a callback of the parser itself it would be called with each value made, but
// at the end of each object that parser walks over all its siblings: a time of (objects in a list)^2.
class JsonGuard : public nlohmann::json_sax<nlohmann::json> {
 public:
  JsonGuard(const std::string& where, const JsonLimits& limits) : where_(where), limits_(limits) {}

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool string(string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool start_array(size_t) override {
    value();
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool start_object(size_t) override {
    value();
    ++depth_;
    keys_.emplace_back();
    return true;
  }
  bool end_object() override {
    --depth_;
    keys_.pop_back();
    return true;
  }
  bool key(string_t& key) override {
    if (limits_.allow_duplicate_keys) return true;
    if (!keys_.back().insert(key).second) throw InputError(where_ + ": key \"" + key + "\" appears twice");
    if (keys_.back().size() > limits_.keys) {
      throw InputError(where_ + ": an object with more than " + std::to_string(limits_.keys) + " keys");
    }
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) override {
    throw InputError(where_ + ": not valid JSON: " + error.what());
  }

 private:
  bool value() {
    if (depth_ > limits_.depth) {
      throw InputError(where_ + ": nested more than " + std::to_string(limits_.depth) + " deep");
    }
    if (++values_ > limits_.values && limits_.values > 0) {
      throw InputError(where_ + ": more than " + std::to_string(limits_.values) + " values");
    }
    return true;
  }

  const std::string& where_;
  const JsonLimits& limits_;
  std::vector<std::set<std::string>> keys_;  // of each object that is still open
  int depth_ = 0;
  size_t values_ = 0;
};

template <class Json>
Json parse_guarded(std::string_view text, const std::string& where, const JsonLimits& limits) {
  JsonGuard guard(where, limits);
  nlohmann::json::sax_parse(text.begin(), text.end(), &guard);
  return Json::parse(text.begin(), text.end());
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
