// Which vector instructions to use, decided once, and vectors of the widths that the kernels are written for.
//
// Kernels are templates over GCC's vector types, forced inline into one function for each level below, so all levels
// run the same operations in the same order. With `avx2` and `avx512` products and sums are fused, so these two give
// the same bytes; `baseline` (x86-64 of before 2013, other CPUs) rounds the product too and may differ in the last bit.
#pragma once

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

#if defined(__x86_64__)
#define PARE_TARGET_AVX512 __attribute__((target("avx512f,avx512dq,fma,avx2,prefer-vector-width=512")))
#define PARE_TARGET_AVX2 __attribute__((target("avx2,fma")))
#else
#define PARE_TARGET_AVX512
#define PARE_TARGET_AVX2
#endif
#define PARE_INLINE inline __attribute__((always_inline))

// `Bytes` bytes of T; loads and stores need the alignment of T only.
template <typename T, int Bytes>
struct Vector {
  typedef T type __attribute__((vector_size(Bytes), aligned(alignof(T)), may_alias));
};

}  // namespace pare::simd
