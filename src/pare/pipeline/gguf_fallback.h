// Which GGUF type takes the place of one whose blocks of 256 do not divide a tensor's rows, by measured error.
//
// llama.cpp takes the next larger type of 32 without a word (Q4_K -> Q5_0), and the file grows. Here some rows of the
// tensor are rounded to the types that fit. Of those with at most a tenth more bits than the wanted one the least error
// wins, if it is at most 1.7 times the wanted type's own on the same rows filled up with zeros. Where none is as good
// as that, it is the smallest larger type that is, or a better one of its size. The plan says what was taken.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "pare/io/ggml_type.h"
#include "pare/weights/model_files.h"
#include "pare/weights/weight_form.h"

namespace pare {

class GgufFallbacks {
 public:
  explicit GgufFallbacks(const ModelFiles& files) : files_(files) {}

  // Of `parameter`, a matrix of the files: blocks of the wanted type or of the one that takes its place, which is
  // counted. UsageError where not even blocks of 32 fit.
  WeightForm form_for(const GgmlType& wanted, const ParameterInfo& parameter);
  // "Q4_K takes rows in blocks of 256, and 576 are no multiple: IQ4_NL instead, in 7 tensors"
  std::vector<std::string> notes() const;

 private:
  const ModelFiles& files_;
  std::map<std::string, int> count_;
};

// UsageError naming the tensor where rows of `cols` are not whole blocks of 32, which every type has.
void require_blocks_of_32(int64_t cols, const std::string& tensor);
// The type for `rows`, [n, cols] numbers of the tensor.
const GgmlType& fallback_type(const GgmlType& wanted, std::span<const float> rows, int64_t cols);

}  // namespace pare
