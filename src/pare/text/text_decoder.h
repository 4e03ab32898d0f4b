// From pieces back to text: the steps of tokenizer.json's decoder, each from a list of pieces to a list.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "pare/text/json_part.h"
#include "pare/text/replace.h"

namespace pare {

class TextDecoder {
 public:
  TextDecoder() = default;                     // pieces joined with a space between them
  explicit TextDecoder(const JsonPart& part);  // null: the same

  std::string apply(std::vector<std::string> pieces) const;
  // What a piece adds to a text that has begun: its bytes, which alone need not be UTF-8.
  std::string bytes_of(std::string piece) const;

 private:
  struct ByteLevel {};
  struct ByteFallback {};
  struct Fuse {};
  struct Strip {
    char32_t content = ' ';
    size_t start = 0, stop = 0;  // characters at most
  };
  struct Metaspace {
    char32_t replacement = 0x2581;
    bool drop_first = true;
  };
  using Step = std::variant<ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace>;
  using Pieces = std::vector<std::string>;

  static Step read_step(const JsonPart& part);
  static Pieces run(const ByteLevel&, Pieces pieces);
  static Pieces run(const Replace& step, Pieces pieces);
  static Pieces run(const ByteFallback&, Pieces pieces);
  static Pieces run(const Fuse&, Pieces pieces);
  static Pieces run(const Strip& step, Pieces pieces);
  static Pieces run(const Metaspace& step, Pieces pieces);

  bool given_ = false;
  std::vector<Step> steps_;
};

}  // namespace pare
