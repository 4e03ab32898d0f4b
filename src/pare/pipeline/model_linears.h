// Which parameters of a model are products of its blocks, embedding or head, and their places in a mix of GGUF types.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pare/pipeline/gguf_mix.h"
#include "pare/weights/decoder_names.h"
#include "pare/weights/model_files.h"

namespace pare {

class ModelLinears {
 public:
  // UnsupportedError as DecoderConfig; InputError when there is no embedding.
  explicit ModelLinears(const ModelFiles& files);

  const DecoderNames& names() const { return names_; }
  int64_t layers() const { return layers_; }
  // When it is a linear of a block that the model runs.
  std::optional<LinearName> find(const ParameterInfo& parameter) const;
  // Its block is past the last one: the file holds more than the config runs.
  bool beyond(const ParameterInfo& parameter) const;
  // "embed", "head" or nothing.
  std::string table_kind(const ParameterInfo& parameter) const;
  // Of a linear, or of what embedding or head is called in mixes.
  MixPlace place(const std::string& kind, int64_t layer) const;

 private:
  DecoderNames names_;
  int64_t layers_ = 0;
  MixPlace place_;
};

}  // namespace pare
