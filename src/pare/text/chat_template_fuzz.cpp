// A template from hostile bytes, rendered: | template ... 0x00 {"messages": [...], "tools": [...]} |

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const std::string_view json =
      zero == std::string_view::npos ? R"({"messages": [{"role": "user", "content": "Hi"}]})" : input.substr(zero + 1);
  try {
    const auto request = pare::parse_ordered_json(json, "request");
    pare::ChatTemplate::Input values;
    if (request.is_object()) {
      values.messages = request.value("messages", nlohmann::ordered_json());
      values.tools = request.value("tools", nlohmann::ordered_json());
    }
    values.bos_token = "<s>";
    values.now = 1;
    pare::ChatTemplate::parse(input.substr(0, zero), "template").render(values);
  } catch (const pare::Error&) {
  }
  return 0;
}
