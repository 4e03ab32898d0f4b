// MODEL on a command line: a folder or file here, or a name on the hub that somebody forgot to pull.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace pare {

// ORG/NAME as the hub writes it: letters, digits, '-', '_', '.', one slash.
bool is_hub_name(std::string_view text);

// What to say of a MODEL that does not exist. A name of the hub's form is shown how to get it, unless ORG is a folder
// here: then NAME is more likely a slip.
std::string no_such_model(const std::filesystem::path& model);

// The model that a path stands for: the .gguf file in a folder without a config.json that holds one, or the parts of
// one (the first that is there), else the path. InputError naming them where there are several.
std::filesystem::path model_in(const std::filesystem::path& path);

}  // namespace pare
