// Which instruction set the kernels use: decided once, by what the CPU and the system can do.
#pragma once

#include <vector>

namespace pare {

enum class Isa {
  baseline,  // any CPU: plain C++
  avx2,      // AVX2, FMA, F16C
  avx512,    // AVX-512 F BW DQ VL VBMI, with VNNI and VBMI2
  neon,      // AArch64 with dot products
};

const char* name_of(Isa isa);
// What this program holds and this machine can run, the best last; asks CPUID and XCR0, so that registers which the
// system does not save are not used.
std::vector<Isa> usable_isas();
// The best of them, or the one that the environment's PARE_ISA names (for tests and measurements). UsageError when
// that is unknown or cannot run here.
Isa current_isa();

}  // namespace pare
