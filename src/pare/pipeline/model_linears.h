// Which parameters of a model are products of its blocks, embedding or head, and what a mix of GGUF types makes of
// them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pare/pipeline/gguf_mix.h"
#include "pare/weights/decoder_names.h"
#include "pare/weights/model_files.h"
#include "pare/weights/weight_form.h"

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

// Rows that the wanted type's blocks do not divide, counted.
class Substitutions {
 public:
  void add(const GgmlType& wanted, const GgmlType& taken, int64_t cols);
  std::vector<std::string> notes() const;  // "Q4_K takes rows in blocks of 256 ...: IQ4_NL instead, in 7 tensors"

 private:
  std::map<std::string, int> count_;
};

// Blocks of the wanted type, or of the one that takes its place in such rows. `name`: for messages.
WeightForm blocks_form(const WeightForm& source, const GgmlType& wanted, const std::string& name,
                       Substitutions& substitutions);

}  // namespace pare
