// Options that run, bench and serve share: how a model is held and by how many threads it is run.
#pragma once

#include <cstdint>
#include <string>

#include "pare/runtime/model.h"

namespace CLI {
class App;
}

namespace pare {

struct RuntimeArgs {
  int threads = 0;
  bool pin = false;
  int64_t context = 0;
  std::string cache = "f16", precision = "int8";

  void add_to(CLI::App& command, bool with_threads = true);
  RuntimeOptions options() const;
};

}  // namespace pare
