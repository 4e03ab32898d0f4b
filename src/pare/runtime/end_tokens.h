// Which tokens end an answer.
#pragma once

#include <cstdint>
#include <vector>

#include "pare/text/tokenizer.h"
#include "pare/weights/model_files.h"

namespace pare {

// The tokenizer's EOS, those of generation_config.json and config.json, and special tokens that end a turn in the
// families known here ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", ...): files often name only one of two.
std::vector<int32_t> end_tokens(const ModelFiles& files, const Tokenizer& tokenizer);

}  // namespace pare
