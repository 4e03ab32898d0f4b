// A decoder's config, and that the files hold every tensor that it speaks of.
#pragma once

#include "pare/weights/decoder_config.h"
#include "pare/weights/model_files.h"

namespace pare {

// Names found, shapes compared, nothing read but headers. UnsupportedError as DecoderConfig::from_hf, InputError for a
// tensor that is missing, of another shape, or there against the config.
DecoderConfig checked_decoder_config(const ModelFiles& files);

}  // namespace pare
