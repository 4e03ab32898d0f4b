// Weights of any form in one safetensors file of Pare's own: what the journal keeps, and any form without a public
// format.
//
//   __metadata__: {"pare_format": "1", "weights": JSON of each weight's form by name}
//   NAME.codes u8 | NAME.scales f32 | NAME.zeros u8 | NAME.group_index i32 | NAME.mask u8 | NAME.values (dense)
//
// Canonical and kernel-neutral: the fields of Weight as they are, no interleaving.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "pare/weights/weight.h"
#include "pare/weights/weight_form.h"

namespace pare {

// `extra` goes into __metadata__ beside. The file is complete and synced when this returns; throws ResourceError.
void write_weight_store(const std::filesystem::path& path, const std::map<std::string, Weight>& weights,
                        const std::map<std::string, std::string>& extra = {});

// What one weight of this form takes there: values in full and the mask beside them, scales as f32.
uint64_t stored_bytes(const WeightForm& form);

// Everything is checked (check_weight); InputError names the file and the weight. Values are read into memory.
std::map<std::string, Weight> read_weight_store(const std::filesystem::path& path);
// One of them.
Weight read_stored_weight(const std::filesystem::path& path, const std::string& name);

}  // namespace pare
