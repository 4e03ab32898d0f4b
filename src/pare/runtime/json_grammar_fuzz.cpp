// A schema from hostile bytes, then a text that follows it as far as it does: | schema ... 0x00 text ... |
//
// Beside no fault: what was accepted can be completed, so after it a vocabulary of all bytes always has a token.

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/base/log.h"
#include "pare/runtime/json_grammar.h"

namespace {

pare::VocabularyTrie all_bytes() {
  std::vector<std::string> bytes(1);  // the first ends the text
  for (int byte = 0; byte < 256; byte++) bytes.emplace_back(1, static_cast<char>(byte));
  for (const char* text : {"{\"", "\":", "\",\"", "\"}", "]}", "[[", "null", ", \"a", "\": {\"", "12", "\\u00"}) {
    bytes.emplace_back(text);
  }
  return {bytes, std::vector<int32_t>{0}};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const pare::VocabularyTrie trie = all_bytes();
  pare::set_log_level(pare::Level::quiet);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const std::string_view text = zero == std::string_view::npos ? "" : input.substr(zero + 1);
  try {
    const auto schema = pare::parse_ordered_json(input.substr(0, zero), "schema", {.keys = 1000});
    pare::GrammarState state(pare::Grammar::json_schema(schema));
    for (char byte : text.substr(0, 300)) {
      if (!state.accept({&byte, 1})) break;
    }
    std::vector<float> logits(trie.vocabulary());
    for (int step = 0; step < 40 && !state.must_end(); step++) {
      for (size_t id = 0; id < logits.size(); id++) logits[id] = static_cast<float>((id * 7 + size) % 269);
      PARE_ASSERT(pare::mask(state, trie, logits) > 0);
      const auto id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      if (trie.is_end(id)) break;
      PARE_ASSERT(state.accept(trie.bytes(id)));
    }
  } catch (const pare::Error&) {
  }
  return 0;
}
