// JSON of answers: members in the order in which they were put in, as OpenAI's.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace pare {

using AnswerJson = nlohmann::ordered_json;

// On one line; bytes that are not UTF-8 (a model's name, half a character) become U+FFFD instead of an exception.
std::string text_of(const AnswerJson& json);

}  // namespace pare
