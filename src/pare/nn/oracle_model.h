// For tests: weights/oracle_files.h with ids and logits as tensors.
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "pare/weights/oracle_files.h"

namespace pare {

class OracleModel : public OracleFiles {
 public:
  explicit OracleModel(const std::string& name, const std::string& config_key = "config", const Spoil& spoil = {})
      : OracleFiles(name, config_key, spoil),
        ids(at::tensor(OracleFiles::ids, at::kLong).view(ids_shape)),
        logits(at::tensor(OracleFiles::logits, at::kFloat).view(logits_shape)) {}

  at::Tensor ids, logits;  // in place of the vectors
};

}  // namespace pare
