// Recipes as they come from outside: read, resolved, written and read again.
#include <cstddef>
#include <cstdint>
#include <string>

#include "pare/base/error.h"
#include "pare/pipeline/recipe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto recipe = pare::Recipe::from_yaml({reinterpret_cast<const char*>(data), size}, "fuzz");
    const std::string text = recipe.to_yaml();
    PARE_ASSERT(pare::Recipe::from_yaml(text, "again").to_yaml() == text);
    for (const char* layer : {"model.layers.0.self_attn.q_proj", "model.layers.11.mlp.down_proj", ""}) {
      const pare::LayerWish wish = recipe.wish_for(layer);
      PARE_ASSERT(wish.bits >= 0 && wish.bits <= 8);
      PARE_ASSERT(wish.method != "none" || (wish.bits == 0 && !wish.sparsity));
    }
    (void)recipe.unmatched({"model.layers.0.self_attn.q_proj"});
  } catch (const pare::Error&) {
  }
  return 0;
}
