// What is put around the tokens of a text: BOS, EOS. (Offsets and pairs of texts are no concern of Pare's.)
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "pare/text/json_part.h"

namespace pare {

class PostProcessor {
 public:
  PostProcessor() = default;
  explicit PostProcessor(const JsonPart& part);  // null: nothing is added

  std::vector<int32_t> apply(std::vector<int32_t> tokens) const;

 private:
  using Template = std::vector<std::optional<int32_t>>;  // nothing: the tokens of the text
  static Template read_template(const JsonPart& part);

  std::vector<Template> steps_;
};

}  // namespace pare
