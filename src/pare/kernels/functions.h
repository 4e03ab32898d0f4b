// The kernels of an instruction set.
#pragma once

#include "pare/kernels/cpu/function_table.h"
#include "pare/kernels/isa.h"

namespace pare {

const cpu::FunctionTable& functions_of(Isa isa);

}  // namespace pare
