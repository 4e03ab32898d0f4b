#include "pare/text/text_decoder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/text/byte_level.h"
#include "pare/text/unicode.h"

namespace pare {
namespace {

char32_t one_character(const JsonPart& part, const char* key) {
  const std::string text = part.text(key);
  size_t pos = 0;
  const char32_t code = text.empty() ? 0 : next_code_point(text, pos);
  if (pos == 0 || pos != text.size()) {
    throw InputError(part.where + ": " + key + ": expected one character, found \"" + text + "\"");
  }
  return code;
}

// The byte of "<0xHH>", or -1.
int byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  int value = 0;
  for (char c : piece.substr(3, 2)) {
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

}  // namespace

TextDecoder::TextDecoder(const JsonPart& part) {
  if (part.json.is_null()) return;
  given_ = true;
  for_each_step(part, "decoders", [&](const JsonPart& step) { steps_.push_back(read_step(step)); });
}

TextDecoder::Step TextDecoder::read_step(const JsonPart& part) {
  const std::string type = part.type();
  if (type == "ByteLevel") {
    part.only_keys({"add_prefix_space", "trim_offsets", "use_regex"});
    return ByteLevel{};
  }
  if (type == "Replace") return Replace(part);
  if (type == "Strip") {
    part.only_keys({"content", "start", "stop"});
    return Strip{one_character(part, "content"), part.count("start"), part.count("stop")};
  }
  if (type == "Metaspace") {
    part.only_keys({"replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
    const std::string scheme =
        part.text_or_null("prepend_scheme").value_or(part.flag("add_prefix_space", true) ? "always" : "never");
    return Metaspace{one_character(part, "replacement"), scheme != "never"};
  }
  part.only_keys({});
  if (type == "ByteFallback") return ByteFallback{};
  if (type == "Fuse") return Fuse{};
  part.unknown_type("Sequence, ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace");
}

std::string TextDecoder::apply(Pieces pieces) const {
  for (const Step& step : steps_) {
    pieces = std::visit([&](const auto& known) { return run(known, std::move(pieces)); }, step);
  }
  std::string text;
  for (size_t i = 0; i < pieces.size(); i++) {
    if (!given_ && i > 0) text += ' ';
    text += pieces[i];
  }
  return text;
}

std::string TextDecoder::bytes_of(std::string piece) const {
  for (const Step& step : steps_) {
    if (std::holds_alternative<Fuse>(step)) break;  // what follows is about the ends of the text
    if (std::holds_alternative<ByteLevel>(step)) {
      std::string bytes;
      if (append_bytes_of(bytes, piece)) piece = std::move(bytes);
      break;
    }
    if (std::holds_alternative<ByteFallback>(step)) {
      if (const int byte = byte_of_piece(piece); byte >= 0) {
        return {static_cast<char>(static_cast<unsigned char>(byte))};
      }
      continue;
    }
    // The empty piece in front stands for the text before: a Metaspace drops the blank of the first piece
    piece = std::visit([&](const auto& known) { return run(known, {"", std::move(piece)}); }, step)[1];
  }
  return given_ ? piece : " " + piece;
}

TextDecoder::Pieces TextDecoder::run(const ByteLevel&, Pieces pieces) {
  std::string bytes;
  for (const std::string& piece : pieces) {
    if (!append_bytes_of(bytes, piece)) bytes += piece;  // an added token stands for itself
  }
  return {is_valid_utf8(bytes) ? bytes : replace_invalid_utf8(bytes)};
}

TextDecoder::Pieces TextDecoder::run(const Replace& step, Pieces pieces) {
  for (std::string& piece : pieces) piece = step.apply(piece);
  return pieces;
}

TextDecoder::Pieces TextDecoder::run(const ByteFallback&, Pieces pieces) {
  Pieces result;
  std::string bytes;
  const auto flush = [&] {
    if (is_valid_utf8(bytes)) {
      if (!bytes.empty()) result.push_back(bytes);
    } else {
      result.insert(result.end(), bytes.size(), "\xEF\xBF\xBD");  // one for each byte of the run
    }
    bytes.clear();
  };
  for (std::string& piece : pieces) {
    const int byte = byte_of_piece(piece);
    if (byte >= 0) {
      bytes.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
    } else {
      flush();
      result.push_back(std::move(piece));
    }
  }
  flush();
  return result;
}

TextDecoder::Pieces TextDecoder::run(const Fuse&, Pieces pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return {text};
}

TextDecoder::Pieces TextDecoder::run(const Strip& step, Pieces pieces) {
  std::string content;
  append_utf8(content, step.content);
  for (std::string& piece : pieces) {
    size_t begin = 0, end = piece.size();
    for (size_t i = 0; i < step.start && piece.compare(begin, content.size(), content) == 0; i++) {
      begin += content.size();
    }
    for (size_t i = 0; i < step.stop && end >= begin + content.size(); i++) {
      if (piece.compare(end - content.size(), content.size(), content) != 0) break;
      end -= content.size();
    }
    piece = piece.substr(begin, end - begin);
  }
  return pieces;
}

TextDecoder::Pieces TextDecoder::run(const Metaspace& step, Pieces pieces) {
  for (size_t i = 0; i < pieces.size(); i++) {
    std::string result;
    for (size_t pos = 0; pos < pieces[i].size();) {
      const char32_t code = next_code_point(pieces[i], pos);
      if (code != step.replacement) {
        append_utf8(result, code);
      } else if (i > 0 || !step.drop_first) {
        result += ' ';
      }
    }
    pieces[i] = std::move(result);
  }
  return pieces;
}

}  // namespace pare
