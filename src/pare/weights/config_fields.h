// The fields of one JSON object of a config, with named errors, and the bounds of what a model may say of itself.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace pare {

// No real model comes near these; a damaged or hostile config.json stops here and not in an allocation.
inline constexpr int64_t kMaxVocab = int64_t{1} << 24;
inline constexpr int64_t kMaxWidth = int64_t{1} << 20;
inline constexpr int64_t kMaxLayers = 4096;
inline constexpr int64_t kMaxHeads = 4096;
inline constexpr int64_t kMaxHeadDim = 4096;
inline constexpr int64_t kMaxPositions = int64_t{1} << 31;

std::string shown(const nlohmann::json& value);  // at most 60 characters of it, for messages

// A key that is null counts as absent, as in transformers. InputError for a value of another type or out of range, and
// for a missing one without a fallback. Holds references to what it is given.
class ConfigFields {
 public:
  ConfigFields(const nlohmann::json& object, std::string where);

  const std::string& where() const { return where_; }
  const nlohmann::json* find(const char* key) const;
  bool is_null(const char* key) const;
  int64_t integer(const char* key, std::optional<int64_t> fallback, int64_t low, int64_t high) const;
  double positive(const char* key, std::optional<double> fallback) const;
  bool flag(const char* key, bool fallback) const;
  std::optional<std::string> text(const char* key) const;

 private:
  const nlohmann::json& object_;
  std::string where_;
};

}  // namespace pare
