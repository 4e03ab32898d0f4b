// make_model OUT [llama8b] [--layers N] [--seed N] ...: a model with random weights, for tests and benchmarks by
// script.

#include <CLI/CLI.hpp>
#include <cstdio>

#include "pare/base/error.h"
#include "support/random_model.h"

int main(int argc, char** argv) {
  pare::RandomModel model;
  std::string out, shapes = "tiny";
  CLI::App app{"Write a Hugging Face folder with random weights"};
  app.add_option("out", out)->required();
  app.add_option("shapes", shapes, "tiny, or llama8b: Llama-3-8B's")->check(CLI::IsMember({"tiny", "llama8b"}));
  int64_t layers = 0;
  app.add_option("--layers", layers);
  app.add_option("--seed", model.seed);
  app.add_option("--hidden", model.hidden);
  app.add_option("--intermediate", model.intermediate);
  CLI11_PARSE(app, argc, argv);
  if (shapes == "llama8b") {
    model = {.vocab = 128256,
             .hidden = 4096,
             .intermediate = 14336,
             .layers = 32,
             .heads = 32,
             .kv_heads = 8,
             .tied = false,
             .seed = model.seed};
  }
  if (layers > 0) model.layers = layers;
  try {
    pare::write_random_model(out, model);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_model: %s\n", error.what());
    return 1;
  }
}
