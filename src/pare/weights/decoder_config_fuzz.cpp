#include <nlohmann/json.hpp>
#include <string_view>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/weights/decoder_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto config =
        pare::DecoderConfig::from_hf(pare::parse_json({reinterpret_cast<const char*>(data), size}, "config.json"));
    config.linear_stages(config.layers - 1);
  } catch (const pare::Error&) {
  }
  return 0;
}
