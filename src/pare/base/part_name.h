// NAME-00002-of-00003: what the second of three files of one model is called, before its extension.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace pare {

struct PartName {
  std::string name;               // "NAME", with the folders before it where there are any
  int64_t number = 1, count = 1;  // from 1
};

// Nothing where `stem`, a file's name without its extension, is not of that form.
std::optional<PartName> part_name(std::string_view stem);
std::string part_stem(const std::string& name, int64_t number, int64_t count);

// Of all parts the same: "dir/NAME" for dir/NAME-00002-of-00003.gguf and for dir/NAME.gguf.
std::filesystem::path without_part(const std::filesystem::path& file);
// The first of the parts that `file` is one of, by its name alone; else `file`.
std::filesystem::path first_part(const std::filesystem::path& file);

}  // namespace pare
