// A JSON schema as a document: its places, its references, and what can be told of a schema without building it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace pare {

struct SchemaPlace {
  const nlohmann::ordered_json* json = nullptr;
  std::string text;  // for messages: "#/properties/a"; with "json_schema: " in front

  const nlohmann::ordered_json* find(const std::string& key) const;  // nothing where there is none
  SchemaPlace at(const std::string& key) const;                      // must exist
  SchemaPlace child(const std::string& key, const nlohmann::ordered_json& value) const;
};

// Sets of types. "number" is both kFraction and kInteger.
using SchemaTypes = uint32_t;
inline constexpr SchemaTypes kNull = 1, kBoolean = 2, kString = 4, kInteger = 8, kFraction = 16, kArray = 32,
                             kObject = 64;
inline constexpr SchemaTypes kAllTypes = 127;

class SchemaDocument {
 public:
  explicit SchemaDocument(const nlohmann::ordered_json& root) : root_(root) {}

  const nlohmann::ordered_json& root() const { return root_; }
  // InputError for what is no schema, UnsupportedError for a keyword that is not honoured, alone or beside another.
  const SchemaDocument& check_keywords(const SchemaPlace& place) const;
  std::optional<SchemaPlace> reference(const SchemaPlace& place) const;               // what $ref leads to
  std::optional<std::vector<std::string>> constants(const SchemaPlace& place) const;  // enum, const: as text
  SchemaTypes types(const SchemaPlace& place) const;  // by type, else by the keywords; all for a schema without either
  // That no value satisfies two of them: UnsupportedError where that cannot be told.
  void check_apart(const std::vector<SchemaPlace>& places) const;

 private:
  struct Facts {
    SchemaTypes types = kAllTypes;
    std::optional<std::vector<std::string>> constants;  // sorted
    std::optional<SchemaPlace> place;                   // behind references, where it is an object
  };
  Facts facts_of(SchemaPlace place) const;
  bool apart(const Facts& a, const Facts& b) const;

  const nlohmann::ordered_json& root_;
};

}  // namespace pare
