// Which files of a repository a model needs.
//
// With safetensors: everything but the same weights in other forms (.bin, .h5, .onnx, .gguf, Mistral's consolidated
// copy beside the shards). Without, but with GGUF: one model of them, by name or by type. A choice that is not clear is
// an error that lists what there is.
#pragma once

#include <string>
#include <vector>

#include "pare/hub/listing.h"

namespace pare {

struct HubWish {
  std::string file;                           // a path, or a type of GGUF ("Q4_K_M"); empty: the model
  std::vector<std::string> include, exclude;  // globs; '*' also matches '/', as huggingface_hub has it
};

struct HubChoice {
  std::vector<HubFile> files;
  std::vector<HubFile> left_out;  // weights of other frameworks
  std::string model_file;         // what of the snapshot is the model; empty: all of it
};

// Throws UsageError (not there, not clear) or UnsupportedError (weights that Pare does not read). `repo` is for
// messages.
HubChoice choose_files(const std::vector<HubFile>& files, const HubWish& wish, const std::string& repo);

uint64_t total_bytes(const std::vector<HubFile>& files);

}  // namespace pare
