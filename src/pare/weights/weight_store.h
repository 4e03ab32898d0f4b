// Weights of any form in one safetensors file of Pare's own (pare_layout.h): what the journal keeps.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "pare/weights/weight.h"

namespace pare {

// The file is complete and synced when this returns; throws ResourceError.
void write_weight_store(const std::filesystem::path& path, const std::map<std::string, Weight>& weights);

// Everything is checked (check_weight); InputError names the file and the weight. Values are read into memory.
std::map<std::string, Weight> read_weight_store(const std::filesystem::path& path);
// One of them.
Weight read_stored_weight(const std::filesystem::path& path, const std::string& name);

}  // namespace pare
