// A whole model from any bytes: a .gguf file ("GGUF..."), with the tokenizer in its metadata; two parts of one, the
// second where "GGUF" comes again; or a folder: u16 length of config.json | config.json | model.safetensors.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/text/tokenizer.h"
#include "pare/weights/decoder_config.h"
#include "pare/weights/encoder_config.h"
#include "pare/weights/model_files.h"
#include "pare/weights/sentence_modules.h"

namespace {

namespace fs = std::filesystem;

const fs::path& workplace() {
  static const fs::path& folder = *new fs::path([] {  // never destroyed: the handler below runs after destructors
    fs::path path = (fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) /
                    ("pare_fuzz_" + std::to_string(getpid()));
    fs::create_directories(path / "folder");
    std::atexit([] { fs::remove_all(workplace()); });
    return path;
  }());
  return folder;
}

void write(const fs::path& path, const uint8_t* data, size_t size) {
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
}

void use_tokenizer(const fs::path& gguf) {
  try {
    const pare::Tokenizer tokenizer = pare::Tokenizer::open(gguf);
    if (tokenizer.kind() != "WordPiece") tokenizer.decode(tokenizer.encode("a bc\nA \xC3\xA9"), false);
    tokenizer.to_json();
    tokenizer.config_json();
    tokenizer.to_gguf();
  } catch (const pare::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  pare::set_log_level(pare::Level::quiet);
  fs::path model = workplace() / "model.gguf";
  if (size >= 2 && data[0] != 'G') {
    const size_t config = std::min<size_t>(data[0] | data[1] << 8, size - 2);
    model = workplace() / "folder";
    write(model / "config.json", data + 2, config);
    write(model / "model.safetensors", data + 2 + config, size - 2 - config);
  } else {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const size_t second = std::min(size, text.find("GGUF", 1));
    if (second < size) {
      model = workplace() / "model-00001-of-00002.gguf";
      write(workplace() / "model-00002-of-00002.gguf", data + second, size - second);
    }
    write(model, data, second);
    use_tokenizer(model);
  }
  try {
    const pare::ModelFiles files = pare::ModelFiles::open(model);
    files.fingerprint();
    for (const pare::ParameterInfo& info : files.parameters()) {
      try {
        const pare::Weight weight = files.read(info.name);
        PARE_ASSERT(weight.shape == info.shape);
        weight.unpack();
      } catch (const pare::Error&) {
      }
    }
    if (pare::is_encoder(files.config())) {
      pare::sentence_modules(files);
      pare::EncoderConfig::from_hf(files.config());
    }
    pare::DecoderConfig::from_hf(files.config());
  } catch (const pare::Error&) {
  }
  return 0;
}
