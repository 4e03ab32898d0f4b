// tokenizer.json from hostile bytes, then a text through it: | json ... 0x00 text ... |

#include <cstdint>
#include <string_view>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  pare::set_log_level(pare::Level::quiet);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const std::string_view json = input.substr(0, zero);
  const std::string_view text = zero == std::string_view::npos ? "a b" : input.substr(zero + 1);
  try {
    const auto tokenizer = pare::Tokenizer::from_json(json, "tokenizer.json");
    if (tokenizer.kind() != "WordPiece") tokenizer.decode(tokenizer.encode(text.substr(0, 1000)), false);
    tokenizer.to_gguf();
  } catch (const pare::Error&) {
  }
  return 0;
}
