// config.json from hostile bytes, as a decoder's and as an encoder's.

#include <nlohmann/json.hpp>
#include <string_view>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/weights/decoder_config.h"
#include "pare/weights/encoder_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto json = pare::parse_json({reinterpret_cast<const char*>(data), size}, "config.json");
    if (pare::is_encoder(json)) pare::EncoderConfig::from_hf(json);
    const auto config = pare::DecoderConfig::from_hf(json);
    config.linear_stages(config.layers - 1);
  } catch (const pare::Error&) {
  }
  return 0;
}
