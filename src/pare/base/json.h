// JSON from outside: depth and duplicate keys checked, errors with the name of the file.
//
// nlohmann-json 3.11 parses any depth but crashes when a deeply nested value is copied or printed, and keeps the last
// of two equal keys; so everything that Pare did not write itself is parsed here.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace pare {

struct JsonLimits {
  int depth = 64;
  bool allow_duplicate_keys = false;
  size_t keys = ~size_t{0};  // of one object, where none may come twice. An ordered one takes a time of keys^2
  size_t values = 0;         // numbers, strings, lists and objects at most, all together; 0: any
};

// `where` names the source in messages ("config.json"). Throws InputError.
nlohmann::json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits = {});
nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& where,
                                          const JsonLimits& limits = {});

// As text; bytes that are not UTF-8 (paths may have such) become U+FFFD instead of an exception. indent -1: one line.
std::string dump_json(const nlohmann::json& value, int indent = -1);

// Reads and parses a whole file of at most `max_bytes`. Throws InputError naming the path.
nlohmann::json read_json_file(const std::filesystem::path& path, size_t max_bytes = size_t{256} << 20);

}  // namespace pare
