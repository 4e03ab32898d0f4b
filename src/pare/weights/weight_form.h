// What a weight will be, known before it is made: enough to plan, to size a file to the byte and to write its header.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pare/io/dtype.h"
#include "pare/weights/weight.h"

namespace pare {

struct WeightForm {
  enum class Kind { dense, grouped_ints, gguf_blocks, additive_codes };

  std::vector<int64_t> shape;  // [out, in], or of any rank when dense
  Kind kind = Kind::dense;
  Dtype dtype = Dtype::bf16;  // of dense values, of codebooks
  int bits = 0;               // of grouped ints (ternary: 2), of one additive code
  bool ternary = false;
  bool symmetric = true;
  bool permuted = false;             // has a group_index
  int64_t group = 0;                 // resolved: never -1; of additive codes: in_group
  int64_t out_group = 1, books = 0;  // of additive codes
  Dtype scale_dtype = Dtype::f16;
  const GgmlType* gguf_type = nullptr;
  bool masked = false;
  int n = 0, m = 0;  // n:m mask; 0, 0: unstructured
  int64_t kept = 0;  // values that the mask keeps, exactly

  int64_t elements() const;
  uint64_t bytes() const;        // what it takes to store it (pare_layout.h); of masked values and ints, the kept ones
  std::string describe() const;  // the same words as Weight::describe()
};

WeightForm form_of(const Weight& weight);

std::string module_of(const std::string& parameter);  // its name without ".weight"

}  // namespace pare
