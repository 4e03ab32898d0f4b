#include "pare/cli/runtime_options.h"

#include <CLI/CLI.hpp>

namespace pare {

void RuntimeArgs::add_to(CLI::App& command, bool with_threads) {
  if (with_threads) command.add_option("-t,--threads", threads, "0: all cores")->check(CLI::Range(0, 1024));
  command.add_flag("--pin", pin, "Each thread on a core of its own");
  command.add_option("-c,--context", context, "Tokens that fit; 0: the model's own, at most 8192")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
  command.add_option("--cache", cache, "Keys and values as f16 or int8 (half of the memory)")
      ->check(CLI::IsMember({"f16", "int8"}))
      ->capture_default_str();
  command.add_option("--precision", precision, "Activations as int8 (fast) or f32 (exact)")
      ->check(CLI::IsMember({"int8", "f32"}))
      ->capture_default_str();
}

RuntimeOptions RuntimeArgs::options() const {
  RuntimeOptions options;
  options.context = context;
  options.cache = cache == "int8" ? CacheType::int8 : CacheType::f16;
  options.precision = precision == "f32" ? Precision::f32 : Precision::int8;
  options.tuning = TuningTable::load();
  return options;
}

}  // namespace pare
