// How long one layer takes, from its inputs to its codes.
//
//   gptq_solve [OUTxIN ...]        default: 4096x4096 and the shapes of SmolLM2-135M
//
// One JSON object a line on stdout: the parts of the solve in seconds (best of three), what they are in GF/s, and this
// machine's own product of the same size for comparison. Activations are made up: correlated, a few channels large.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "pare/curvature/inverse_factor.h"
#include "pare/quantize/gptq.h"
#include "pare/quantize/rtn.h"

namespace {

using namespace pare;

template <typename F>
double best_seconds(const F& f) {
  double best = 1e30;
  for (int i = 0; i < 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

LayerHessian gather(int64_t in, int64_t chunks) {
  HessianAccumulator sums(in);
  const at::Tensor mix = at::randn({in, in}).mul_(0.7 / std::sqrt(in)) + 0.5 * at::eye(in);
  const at::Tensor size = at::randn({in}).mul_(0.8).exp_();
  for (int64_t i = 0; i < chunks; ++i) {
    sums.add(at::mm(at::randn({HessianAccumulator::kChunkTokens, in}), mix) * size, "made up");
  }
  return sums.finish();
}

void measure(int64_t out, int64_t in) {
  at::manual_seed(1);
  Problem problem;
  problem.name = std::to_string(out) + "x" + std::to_string(in);
  problem.weight = at::randn({out, in}).mul_(0.02);
  problem.curvature = gather(in, std::max<int64_t>(1, 2 * in / HessianAccumulator::kChunkTokens));
  const at::Tensor& h = problem.curvature.h;

  const double n = static_cast<double>(in), rows = static_cast<double>(out);
  const at::Tensor x = at::randn({HessianAccumulator::kChunkTokens, in});
  const double gemm = best_seconds([&] { at::mm(x.t(), x); });
  HessianAccumulator sums(in);
  const double chunk = best_seconds([&] { sums.add(x, problem.name); });
  const at::Tensor order = h.diagonal().argsort(true, 0, true);
  const double factor = best_seconds([&] { inverse_factor(h, 0.01, order, problem.name); });

  struct Case {
    const char* name;
    GptqOptions options;
  };
  GptqOptions sym4{.grid = {.bits = 4, .group = in % 128 == 0 ? 128 : 64}};
  GptqOptions asym3{.grid = {.bits = 3, .group = 64, .symmetric = false}};
  const double full = 2.0 * static_cast<double>(HessianAccumulator::kChunkTokens) * n * n;
  std::printf(
      "{\"shape\": \"%s\", \"threads\": %d, \"gemm_gflops\": %.0f, \"hessian_chunk_s\": %.4f, "
      "\"hessian_full_gemm_gflops\": %.0f, \"factor_s\": %.4f",
      problem.name.c_str(), at::get_num_threads(), full / gemm * 1e-9, chunk, full / chunk * 1e-9, factor);
  for (const Case& c : {Case{"sym4", sym4}, Case{"asym3", asym3}}) {
    GptqOptions walk = c.options;
    walk.descent_sweeps = 0;
    Solution plain, refined;
    const double walk_s = best_seconds([&] { plain = gptq(problem, walk); });
    const double full_s = best_seconds([&] { refined = gptq(problem, c.options); });
    const Solution rounded = rtn(problem, {.grid = c.options.grid});
    // factor 2/3 n^3; walk out n^2; three quadratic forms of out n^2 each (and two of the result)
    const double walk_flops = 2.0 / 3 * n * n * n + rows * n * n * (1 + 4);
    std::printf(
        ", \"%s\": {\"walk_s\": %.3f, \"walk_gflops\": %.0f, \"default_s\": %.3f, \"rtn_relative_loss\": %.3e, "
        "\"walk_relative_loss\": %.3e, \"default_relative_loss\": %.3e}",
        c.name, walk_s, walk_flops / walk_s * 1e-9, full_s, rounded.relative_loss, plain.relative_loss,
        refined.relative_loss);
  }
  std::printf("}\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode guard;
  if (argc == 1) {
    for (const auto& [out, in] : {std::pair{192, 576}, {576, 576}, {1536, 576}, {576, 1536}, {4096, 4096}}) {
      measure(out, in);
    }
  }
  for (int i = 1; i < argc; ++i) {
    long long out = 0, in = 0;
    if (std::sscanf(argv[i], "%lldx%lld", &out, &in) != 2 || out < 1 || in < 64) {
      std::fprintf(stderr, "gptq_solve: '%s' is not OUTxIN, for example 4096x4096 (IN at least 64)\n", argv[i]);
      return 2;
    }
    measure(out, in);
  }
  return 0;
}
