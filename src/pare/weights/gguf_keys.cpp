#include "pare/weights/gguf_keys.h"

#include <charconv>

namespace pare {

double through_f32(double value) {
  const auto narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) != value) return value;
  char text[32];
  const auto written = std::to_chars(text, text + sizeof text, narrow);
  double result = value;
  std::from_chars(text, written.ptr, result);
  return result;
}

}  // namespace pare
