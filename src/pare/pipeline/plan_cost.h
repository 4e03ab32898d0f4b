// What a planned run takes: peak memory, time. Needs the plan's layers, tokens and format.
#pragma once

#include "pare/pipeline/plan.h"

namespace pare {

// Fills plan.memory and may add notes. ResourceError when the limit is too small, with the least that would do.
void plan_memory(Plan& plan, const ModelFiles& files, const Recipe& recipe, const PlanOptions& options);
// Fills plan.flops and plan.seconds.
void plan_time(Plan& plan, const ModelFiles& files, const Recipe& recipe, const PlanOptions& options);

}  // namespace pare
