// XXH3-128 over several pieces: what journal records, caches and reports use to say "the same bytes".
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace pare {

class Fingerprint {
 public:
  Fingerprint();
  ~Fingerprint();
  Fingerprint(const Fingerprint&) = delete;
  Fingerprint& operator=(const Fingerprint&) = delete;

  Fingerprint& add(std::span<const std::byte> bytes);
  // Its length goes in first, so that "ab" + "c" and "a" + "bc" differ.
  Fingerprint& add(std::string_view text);
  std::string hex() const;  // 32 lower-case digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pare
