#include "pare/pipeline/run/solvers.h"

#include <functional>
#include <map>

#include "pare/base/error.h"
#include "pare/prune/score.h"
#include "pare/prune/sparsegpt.h"
#include "pare/quantize/gptq.h"
#include "pare/quantize/gptq_gguf.h"
#include "pare/quantize/rtn.h"

namespace pare {
namespace {

GridOptions grid_options(const LayerWish& wish, int scale_bits) {
  GridOptions grid;
  grid.bits = wish.bits;
  grid.ternary = wish.ternary;
  grid.group = wish.group;
  grid.symmetric = wish.symmetric;
  grid.scale_dtype = wish.scale_dtype;
  grid.scale_bits = scale_bits;
  grid.search = wish.searches();
  return grid;
}

using Solver = std::function<Solution(const Problem&, const LayerWish&, Dtype, int)>;

const std::map<std::string, Solver>& solvers() {
  static const std::map<std::string, Solver> table{
      {"rtn",
       [](const Problem& problem, const LayerWish& wish, Dtype, int scale_bits) {
         RtnOptions options;
         options.grid = grid_options(wish, scale_bits);
         return rtn(problem, options);
       }},
      {"gptq",
       [](const Problem& problem, const LayerWish& wish, Dtype, int scale_bits) {
         GptqOptions options;
         options.grid = grid_options(wish, scale_bits);
         options.damp = wish.damp;
         options.act_order = wish.act_order;
         options.static_groups = wish.static_groups;
         options.block = wish.block;
         options.descent_sweeps = wish.descent_sweeps;
         options.refit_scales = wish.refit_scales;
         options.shift = wish.shift;
         return gptq(problem, options);
       }},
      {"sparsegpt",
       [](const Problem& problem, const LayerWish& wish, Dtype dtype, int scale_bits) {
         SparseGptOptions options;
         options.pattern = *wish.sparsity;
         options.damp = wish.damp;
         options.block = wish.block;
         options.quantize = wish.bits > 0;
         options.grid = grid_options(wish, scale_bits);
         options.dtype = dtype;
         options.improve.rounds = wish.refine;
         if (wish.refine == 0) options.improve.steps = 0;
         options.descent_sweeps = wish.descent_sweeps;
         return sparsegpt(problem, options);
       }},
      {"wanda", [](const Problem& problem, const LayerWish& wish, Dtype dtype,
                   int) { return wanda(problem, {.pattern = *wish.sparsity, .dtype = dtype}); }},
      {"magnitude", [](const Problem& problem, const LayerWish& wish, Dtype dtype,
                       int) { return magnitude(problem, {.pattern = *wish.sparsity, .dtype = dtype}); }},
  };
  return table;
}

}  // namespace

Solution solve(const Problem& problem, const LayerPlan& layer, int format_scale_bits) {
  const LayerWish& wish = layer.wish;
  if (layer.form.kind == WeightForm::Kind::gguf_blocks) {
    if (wish.method == "rtn") return rtn_gguf(problem, *layer.form.gguf_type);
    GgufGptqOptions options;
    options.type = layer.form.gguf_type;
    options.damp = wish.damp;
    options.act_order = wish.act_order;
    options.block = wish.block;
    options.descent_sweeps = wish.descent_sweeps;
    options.refit_scales = wish.refit_scales;
    return gptq_gguf(problem, options);
  }
  const auto solver = solvers().find(wish.method);
  PARE_ASSERT(solver != solvers().end());
  return solver->second(problem, wish, layer.form.dtype, format_scale_bits);
}

}  // namespace pare
