// What a weight will be, known before it is made: enough to plan, to size a file to the byte and to write its header.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pare/io/dtype.h"
#include "pare/weights/weight.h"

namespace pare {

struct WeightForm {
  enum class Kind { dense, grouped_ints, gguf_blocks };

  std::vector<int64_t> shape;  // [out, in], or of any rank when dense
  Kind kind = Kind::dense;
  Dtype dtype = Dtype::bf16;  // of dense values
  int bits = 0;               // of grouped ints (ternary: 2)
  bool ternary = false;
  bool symmetric = true;
  int64_t group = 0;  // resolved: never -1
  Dtype scale_dtype = Dtype::f16;
  const GgmlType* gguf_type = nullptr;
  bool masked = false;
  int n = 0, m = 0;  // n:m mask; 0, 0: unstructured
  int64_t kept = 0;  // values that the mask keeps, exactly

  int64_t elements() const;
  uint64_t bytes() const;        // Weight::bytes() of a weight of this form
  std::string describe() const;  // the same words as Weight::describe()
};

WeightForm form_of(const Weight& weight);

std::string module_of(const std::string& parameter);  // its name without ".weight"

}  // namespace pare
