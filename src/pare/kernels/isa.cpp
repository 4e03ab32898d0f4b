#include "pare/kernels/isa.h"

#include <cstdlib>
#include <string>

#include "pare/base/error.h"
#include "pare/kernels/functions.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace pare {
namespace {

#if defined(__x86_64__)
// __builtin_cpu_supports looks at XCR0 as well: what the system does not save counts as absent.
bool runs(Isa isa) {
  switch (isa) {
    case Isa::baseline:
      return true;
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");  // no CPU has these and no F16C
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
             __builtin_cpu_supports("avx512vnni");
    case Isa::neon:
      return false;
  }
  return false;
}
#elif defined(__aarch64__)
bool runs(Isa isa) {
  constexpr unsigned long dot_products = 1ul << 20;  // HWCAP_ASIMDDP
  return isa == Isa::baseline || (isa == Isa::neon && (getauxval(AT_HWCAP) & dot_products) != 0);
}
#else
bool runs(Isa isa) {
  return isa == Isa::baseline;
}
#endif

Isa chosen_isa() {
  const std::vector<Isa> usable = usable_isas();
  const char* wish = std::getenv("PARE_ISA");
  if (wish == nullptr || *wish == '\0') return usable.back();
  std::string names;
  for (Isa isa : usable) {
    if (std::string(wish) == name_of(isa)) return isa;
    names += (names.empty() ? "" : ", ") + std::string(name_of(isa));
  }
  throw UsageError("PARE_ISA=" + std::string(wish) + ": this program on this machine can use " + names);
}

}  // namespace

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::baseline:
      return "baseline";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::neon:
      return "neon";
  }
  return "";
}

std::vector<Isa> usable_isas() {
  std::vector<Isa> usable;
  for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512, Isa::neon}) {
    if (runs(isa)) usable.push_back(isa);
  }
  return usable;
}

Isa current_isa() {
  static const Isa isa = chosen_isa();
  return isa;
}

const cpu::FunctionTable& functions_of(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx2:
      return cpu::kAvx2;
    case Isa::avx512:
      return cpu::kAvx512;
#elif defined(__aarch64__)
    case Isa::neon:
      return cpu::kNeon;
#endif
    default:
      return cpu::kBaseline;
  }
}

}  // namespace pare
