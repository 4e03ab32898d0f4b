#include "pare/server/answer_json.h"

#include <nlohmann/json.hpp>

namespace pare {

std::string text_of(const AnswerJson& json) {
  return json.dump(-1, ' ', false, AnswerJson::error_handler_t::replace);
}

}  // namespace pare
