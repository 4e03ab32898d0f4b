// config.json and index files as they come from outside.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "pare/base/error.h"
#include "pare/base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto value = pare::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    (void)value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  } catch (const pare::Error&) {
  }
  return 0;
}
