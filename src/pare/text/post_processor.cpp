#include "pare/text/post_processor.h"

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/text/vocabulary.h"

namespace pare {

PostProcessor::PostProcessor(const JsonPart& part) {
  if (part.json.is_null()) return;
  for_each_step(part, "processors", [&](const JsonPart& step) {
    const std::string type = step.type();
    if (type == "TemplateProcessing") {
      step.only_keys({"single", "pair", "special_tokens"});
      steps_.push_back(read_template(step));
    } else if (type == "ByteLevel") {  // moves offsets only
      step.only_keys({"add_prefix_space", "trim_offsets", "use_regex"});
    } else {
      step.unknown_type("Sequence, TemplateProcessing, ByteLevel");
    }
  });
}

PostProcessor::Template PostProcessor::read_template(const JsonPart& part) {
  Template result;
  const JsonPart single = part.part("single");
  const JsonPart special = part.part("special_tokens");
  bool has_text = false;
  const size_t count = single.items("a list of {\"Sequence\": ...} and {\"SpecialToken\": ...}");
  for (size_t i = 0; i < count; i++) {
    const JsonPart piece = single.item(i);
    if (piece.json.is_object() && piece.json.size() == 1 && piece.json.contains("Sequence")) {
      const JsonPart sequence = piece.part("Sequence");
      const std::string id = sequence.json.is_object() ? sequence.text("id") : "";
      if (id != "A") throw InputError(sequence.where + ": a single text has sequence A, found \"" + id + "\"");
      if (has_text) throw UnsupportedError(part.where + ": single: the text stands in it twice");
      has_text = true;
      result.push_back(std::nullopt);
    } else if (piece.json.is_object() && piece.json.size() == 1 && piece.json.contains("SpecialToken")) {
      const JsonPart token = piece.part("SpecialToken");
      const std::string id = token.json.is_object() ? token.text("id") : "";
      const JsonPart ids = special.part(id.c_str()).part("ids");
      const size_t id_count = ids.items("a list of ids");
      for (size_t j = 0; j < id_count; j++)
        result.push_back(static_cast<int32_t>(ids.item(j).integer(kMostTokens - 1)));
    } else {
      throw InputError(piece.where + ": expected {\"Sequence\": ...} or {\"SpecialToken\": ...}");
    }
  }
  if (!has_text) throw UnsupportedError(part.where + ": single: the text does not stand in it");
  return result;
}

std::vector<int32_t> PostProcessor::apply(std::vector<int32_t> tokens) const {
  for (const Template& step : steps_) {
    std::vector<int32_t> result;
    result.reserve(tokens.size() + step.size());
    for (const auto& id : step) {
      if (id) {
        result.push_back(*id);
      } else {
        result.insert(result.end(), tokens.begin(), tokens.end());
      }
    }
    tokens = std::move(result);
  }
  return tokens;
}

}  // namespace pare
