#include "pare/text/unicode.h"

#include <gtest/gtest.h>

#include "pare/text/byte_level.h"

namespace pare {
namespace {

TEST(Unicode, ReplacesInvalidBytesAsPythonDoes) {
  const std::string mark = "\xEF\xBF\xBD";
  const std::pair<std::string, std::string> cases[] = {
      // bytes.decode(errors="replace")
      {"a\x80z", "a" + mark + "z"},
      {"\xC3", mark},
      {"\xC0\xAF", mark + mark},  // overlong
      {"\xE2\x96z", mark + "z"},  // cut short: one mark for the part that began well
      {"\xE2\x28\xA1", mark + "(" + mark},
      {"\xED\xA0\x80", mark + mark + mark},  // a surrogate
      {"\xF0\x9F\x98", mark},
      {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
      {"\xF4\x90\x80\x80", mark + mark + mark + mark},  // beyond U+10FFFF
      {"\xF8\x88\x80", mark + mark + mark},
      {"\xE0\x80\x80", mark + mark + mark},
  };
  for (const auto& [bytes, expected] : cases) {
    EXPECT_EQ(replace_invalid_utf8(bytes), expected) << testing::PrintToString(bytes);
    EXPECT_EQ(is_valid_utf8(bytes), bytes == expected);
    EXPECT_TRUE(is_valid_utf8(expected));
  }
}

TEST(Unicode, EveryCodePointSurvivesWritingAndReading) {
  for (char32_t code = 0; code < 0x110000; code++) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string text;
    append_utf8(text, code);
    size_t pos = 0;
    ASSERT_EQ(next_code_point(text, pos), code);
    ASSERT_EQ(pos, text.size());
    ASSERT_TRUE(is_valid_utf8(text));
  }
}

TEST(Unicode, NormalizesToTheFourForms) {
  EXPECT_EQ(normalize_unicode("e\u0301", UnicodeForm::nfc), "\u00e9");
  EXPECT_EQ(normalize_unicode("\u00e9", UnicodeForm::nfd), "e\u0301");
  EXPECT_EQ(normalize_unicode("\ufb01\u00bd", UnicodeForm::nfkc), "fi1\u20442");
  EXPECT_EQ(normalize_unicode("\u1e9b\u0323", UnicodeForm::nfkd), "s\u0323\u0307");
  EXPECT_EQ(normalize_unicode("\u1100\u1161\u11a8", UnicodeForm::nfc), "\uac01");
  // newer than the reference's tables: not touched, and a wall for what stands around it
  EXPECT_EQ(normalize_unicode("\u32ff", UnicodeForm::nfkc), "\u32ff");
  EXPECT_EQ(normalize_unicode("e\u0301\u32ffe\u0301", UnicodeForm::nfc), "\u00e9\u32ff\u00e9");
}

TEST(Unicode, LowersTheLettersThatNeedTwoCharactersOrNewerTables) {
  EXPECT_EQ(lowercase("\u0130\u00c9\U00016EA0"), "i\u0307\u00e9\U00016EBB");
}

TEST(Unicode, KnowsWhiteSpaceAtBothEnds) {
  const std::string text = "\u3000 \tx y\u2003\n";
  EXPECT_EQ(leading_white_space(text), 5u);
  EXPECT_EQ(trailing_white_space(text), 4u);
  EXPECT_EQ(leading_white_space("\u200b"), 0u);  // zero width space is none
  EXPECT_EQ(trailing_white_space(""), 0u);
}

TEST(Unicode, WordCharactersAreRusts) {
  for (char32_t code : {U'a', U'_', U'5', U'\u00e9', U'\u0301', U'\u4e00', U'\u200d'})
    EXPECT_TRUE(is_word(code)) << uint32_t{code};
  for (char32_t code : {U' ', U'-', U'\u00b2', U'\u2014'}) EXPECT_FALSE(is_word(code)) << uint32_t{code};
}

TEST(ByteLevel, HasTheAlphabetOfGpt2) {
  const std::pair<unsigned, char32_t> known[] = {{0x00, 0x100}, {0x0A, 0x10A}, {0x20, 0x120}, {0x7F, 0x121},
                                                 {0x80, 0x122}, {0xA0, 0x142}, {0xAD, 0x143}, {0x41, 0x41}};
  for (const auto& [byte, code] : known) EXPECT_EQ(kByteCharacters[byte], code);
  std::string all;
  for (int byte = 0; byte < 256; byte++) all.push_back(static_cast<char>(byte));
  std::string text, back;
  append_byte_level(text, all);
  EXPECT_TRUE(append_bytes_of(back, text));
  EXPECT_EQ(back, all);
  EXPECT_FALSE(append_bytes_of(back, "a b"));
  EXPECT_EQ(back, all);
}

}  // namespace
}  // namespace pare
