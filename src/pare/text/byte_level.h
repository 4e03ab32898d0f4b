// The byte-level alphabet of GPT-2: each byte as a printable character, so that BPE works on text.
//
// 0x21-0x7E, 0xA1-0xAC, 0xAE-0xFF stand for themselves; the other 68 bytes, ascending, are U+0100, U+0101, ...
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "pare/text/unicode.h"

namespace pare {

constexpr bool byte_stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<char32_t, 256> make_byte_characters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; byte++) characters[byte] = byte_stands_for_itself(byte) ? byte : next++;
  return characters;
}
inline constexpr std::array<char32_t, 256> kByteCharacters = make_byte_characters();

constexpr std::array<int16_t, 0x144> make_character_bytes() {
  std::array<int16_t, 0x144> bytes{};
  for (auto& byte : bytes) byte = -1;
  for (unsigned byte = 0; byte < 256; byte++) bytes[kByteCharacters[byte]] = static_cast<int16_t>(byte);
  return bytes;
}
inline constexpr std::array<int16_t, 0x144> kCharacterBytes = make_character_bytes();  // -1: no byte

inline void append_byte_level(std::string& result, std::string_view bytes) {
  for (char byte : bytes) append_utf8(result, kByteCharacters[static_cast<unsigned char>(byte)]);
}

// Appends the bytes that `piece` (valid UTF-8) stands for. False, and nothing appended, when a character is not of the
// alphabet.
inline bool append_bytes_of(std::string& result, std::string_view piece) {
  const size_t before = result.size();
  for (size_t pos = 0; pos < piece.size();) {
    const char32_t code = next_code_point(piece, pos);
    if (code >= kCharacterBytes.size() || kCharacterBytes[code] < 0) {
      result.resize(before);
      return false;
    }
    result.push_back(static_cast<char>(static_cast<unsigned char>(kCharacterBytes[code])));
  }
  return true;
}

}  // namespace pare
