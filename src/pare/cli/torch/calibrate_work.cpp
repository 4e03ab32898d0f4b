// pare calibrate: the work itself.

#include <cstdio>
#include <nlohmann/json.hpp>

#include "pare/base/json.h"
#include "pare/base/resources.h"
#include "pare/base/units.h"
#include "pare/cli/torch_work.h"
#include "pare/pipeline/run/calibrate.h"

namespace pare {

void calibrate_work(const CalibrateArgs& args, Console& console) {
  keep_heap_compact();
  const CalibrateFigures figures = calibrate({.model = args.model,
                                              .out = args.out,
                                              .calibration = args.calibration,
                                              .seed = args.seed,
                                              .memory_bytes = args.memory_bytes,
                                              .threads = args.threads});
  if (console.json) {
    const nlohmann::json values{{"out", args.out.string()},   {"entries", figures.entries}, {"tokens", figures.tokens},
                                {"windows", figures.windows}, {"length", figures.length},   {"source", figures.source},
                                {"seconds", figures.seconds}};
    std::printf("%s\n", dump_json(values, 1).c_str());
    return;
  }
  std::printf("%s: %ld tensors, %ld windows of %ld tokens, %s; %s\n", args.out.string().c_str(),
              static_cast<long>(figures.entries), static_cast<long>(figures.windows), static_cast<long>(figures.length),
              figures.source.c_str(), format_duration(figures.seconds).c_str());
}

}  // namespace pare
