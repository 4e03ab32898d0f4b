#include "pare/cli/failure.h"

#include <new>

namespace pare {
namespace {

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  const std::string text = error.what();
  for (const char* words : {"can't allocate memory", "not enough memory"}) {  // c10's allocators
    if (text.find(words) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

Failure describe_failure(const std::exception& error, const std::string& command) {
  if (const auto* ours = dynamic_cast<const Error*>(&error)) return {ours->what(), ours->code()};
  if (is_out_of_memory(error)) {
    const char* way_out = command == "compress" ? "; give --memory or fewer --samples"
                          : command == "eval"   ? "; give a shorter --length"
                                                : "";
    return {std::string("out of memory") + way_out, Exit::resources};
  }
  return {error.what(), Exit::failed};
}

}  // namespace pare
