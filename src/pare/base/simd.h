// Which vector instructions to use, decided once, and vectors of the widths that the kernels are written for.
//
// Kernels are written over GCC's vector types and forced inline into one function for each level below, so all levels
// run the same operations in the same order. With `avx2` and `avx512` products and sums are fused, so these two give
// the same bytes; `baseline` (x86-64 of before 2013, other CPUs) rounds the product too and may differ in the last bit.
#pragma once

#include <type_traits>

namespace pare::simd {

enum class Level { baseline, avx2, avx512 };

inline Level best_level() {
#if defined(__x86_64__)
  static const Level level = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? Level::avx512
                             : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")       ? Level::avx2
                                                                                                     : Level::baseline;
  return level;
#else
  return Level::baseline;
#endif
}

#if defined(__x86_64__) && defined(__clang__)  // it knows no preferred width as a target, and obeys the vectors' own
#define PARE_TARGET_AVX512 __attribute__((target("avx512f,avx512dq,fma,avx2")))
#define PARE_TARGET_AVX2 __attribute__((target("avx2,fma")))
#elif defined(__x86_64__)
#define PARE_TARGET_AVX512 __attribute__((target("avx512f,avx512dq,fma,avx2,prefer-vector-width=512")))
#define PARE_TARGET_AVX2 __attribute__((target("avx2,fma")))
#else
#define PARE_TARGET_AVX512
#define PARE_TARGET_AVX2
#endif
#define PARE_ALWAYS_INLINE __attribute__((always_inline))
#define PARE_INLINE inline PARE_ALWAYS_INLINE

// Bytes of the vectors that a level has.
template <int Bytes>
using Width = std::integral_constant<int, Bytes>;

template <class Kernel>
PARE_TARGET_AVX512 auto run_avx512(const Kernel& kernel) {
  return kernel(Width<64>{});
}
template <class Kernel>
PARE_TARGET_AVX2 auto run_avx2(const Kernel& kernel) {
  return kernel(Width<32>{});
}
// kernel(Width<..>{}), compiled for the level. Its operator() must be PARE_INLINE, or PARE_ALWAYS_INLINE on a lambda,
// with all that it calls, and is faster when it captures by value: then nothing that it stores can change its
// arguments.
template <class Kernel>
auto run_at(Level level, const Kernel& kernel) {
  switch (level) {
    case Level::avx512:
      return run_avx512(kernel);
    case Level::avx2:
      return run_avx2(kernel);
    case Level::baseline:
      break;
  }
  return kernel(Width<16>{});
}

// `Bytes` bytes of T; loads and stores need the alignment of T only.
template <typename T, int Bytes>
struct Vector {
  typedef T type __attribute__((vector_size(Bytes), aligned(alignof(T)), may_alias));
};

}  // namespace pare::simd
