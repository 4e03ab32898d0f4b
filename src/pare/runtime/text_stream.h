// Text out of tokens as they come, and stop strings found in it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pare/text/tokenizer.h"

namespace pare {

// What add() returns, piece by piece, with finish() at the end is decode() of all tokens, special ones left out.
//
// A piece is given out once no later token can change it: not while it ends inside a character (a token may hold a part
// of one), nor inside a run of byte tokens (<0xE2> <0x82> ...: the run as a whole is UTF-8 or not). Each token costs
// the decoding of the few around it: the last piece given out goes along, since what stands at the front of a text
// (a space that is stripped) is decoded otherwise than in the middle.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  std::string add(int32_t token);
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  std::vector<int32_t> tokens_;
  size_t context_ = 0;      // where decoding begins
  size_t settled_ = 0;      // tokens before it are given out
  size_t given_bytes_ = 0;  // of text
};

// Text held back while it may be the beginning of a stop string.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}
  // What of `text` and of what was held is now certain to come before any stop string. After a match nothing more.
  std::string add(std::string_view text);
  std::string finish();  // what was held: no stop string after all
  bool matched() const { return matched_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace pare
