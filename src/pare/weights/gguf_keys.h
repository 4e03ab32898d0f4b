// The metadata of one architecture, by the part of the key after "llama.".
#pragma once

#include <cstdint>
#include <string>

#include "pare/io/gguf.h"

namespace pare {

// 9.999999747378752e-06 is 1e-05 that went through f32: the shortest decimal that is the same f32.
double through_f32(double value);

// Errors as GgufFile's, which outlives this.
class GgufKeys {
 public:
  GgufKeys(const GgufFile& file, const std::string& architecture) : file_(file), prefix_(architecture + ".") {}
  bool has(const std::string& key) const { return file_.has(prefix_ + key); }
  int64_t integer(const std::string& key) const { return file_.integer(prefix_ + key); }
  int64_t integer(const std::string& key, int64_t fallback) const { return has(key) ? integer(key) : fallback; }
  double number(const std::string& key) const { return through_f32(file_.number(prefix_ + key)); }
  double number(const std::string& key, double fallback) const { return has(key) ? number(key) : fallback; }
  std::string text(const std::string& key, const char* fallback) const {
    return has(key) ? file_.text(prefix_ + key) : fallback;
  }
  std::string name(const std::string& key) const { return file_.path().string() + ": " + prefix_ + key; }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

}  // namespace pare
