#include "pare/curvature/matmul.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

namespace pare {

namespace {

// A is packed in panels of 12 rows (k-major), B in panels of 128 bytes of columns: 24 accumulators of 64 bytes fill the
// AVX-512 registers; AVX2 walks the same panels in pieces of 6 rows by 64 bytes.
constexpr int kPanelRows = 12;
template <typename T>
constexpr int kPanelCols = 128 / sizeof(T);
constexpr int64_t kRowsAtOnce = 480;   // of packed A: 480 KiB of f32 in the L2 cache
constexpr int64_t kColsAtOnce = 1024;  // of packed B

template <typename T>
struct Aligned {
  explicit Aligned(int64_t count) : data(static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{64}))) {}
  ~Aligned() { ::operator delete (data, std::align_val_t{64}); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  T* data;
};

// dst[panel][p][i]: `Width` rows of src a panel, zeros after the last one. src(i, p) = data[i * outer + p * inner].
template <typename T, int Width>
void pack(const T* data, int64_t outer, int64_t inner, int64_t count, int64_t k, T sign, T* dst) {
  for (int64_t first = 0; first < count; first += Width, dst += k * Width) {
    const int64_t filled = std::min<int64_t>(Width, count - first);
    const T* src = data + first * outer;
    if (filled == Width && outer == 1) {  // lines of Width: whole vectors
      for (int64_t p = 0; p < k; ++p) {
        for (int i = 0; i < Width; ++i) dst[p * Width + i] = sign * src[p * inner + i];
      }
    } else if (filled == Width) {
      for (int64_t p = 0; p < k; ++p) {
        for (int i = 0; i < Width; ++i) dst[p * Width + i] = sign * src[i * outer + p * inner];
      }
    } else {
      for (int64_t p = 0; p < k; ++p) {
        for (int64_t i = 0; i < filled; ++i) dst[p * Width + i] = sign * src[i * outer + p * inner];
        for (int64_t i = filled; i < Width; ++i) dst[p * Width + i] = T{0};
      }
    }
  }
}

// c[Rows][2 vectors] += a[p][i] * b[p][j], one piece of a panel pair.
template <typename T, int Bytes, int Rows, bool Chain>
PARE_INLINE void piece(int64_t k, const T* a, const T* b, T* c, int64_t c_stride) {
  using V = typename simd::Vector<T, Bytes>::type;
  constexpr int kLanes = Bytes / sizeof(T);
  V sums[Rows][2];
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
    for (int v = 0; v < 2; ++v) {
      if constexpr (Chain) {
        sums[i][v] = *reinterpret_cast<const V*>(c + i * c_stride + v * kLanes);
      } else {
        sums[i][v] = V{};
      }
    }
  }
  for (int64_t p = 0; p < k; ++p) {
    const V b0 = *reinterpret_cast<const V*>(b);
    const V b1 = *reinterpret_cast<const V*>(b + kLanes);
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
      sums[i][0] += a[i] * b0;
      sums[i][1] += a[i] * b1;
    }
    a += kPanelRows;
    b += kPanelCols<T>;
  }
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
    for (int v = 0; v < 2; ++v) {
      V* place = reinterpret_cast<V*>(c + i * c_stride + v * kLanes);
      if constexpr (Chain) {
        *place = sums[i][v];
      } else {
        *place += sums[i][v];
      }
    }
  }
}

template <typename T, int Bytes, int Rows, bool Chain>
PARE_INLINE void panel_pair(int64_t k, const T* a, const T* b, T* c, int64_t c_stride) {
  constexpr int kCols = 2 * Bytes / static_cast<int>(sizeof(T));
  for (int i = 0; i < kPanelRows; i += Rows) {
    for (int j = 0; j < kPanelCols<T>; j += kCols) {
      piece<T, Bytes, Rows, Chain>(k, a + i, b + j, c + i * c_stride + j, c_stride);
    }
  }
}

// All panel pairs of packed A [m, k] and packed B [k, n].
template <typename T, int Bytes, int Rows, bool Chain>
PARE_INLINE void all_panels(int64_t m, int64_t n, int64_t k, const T* a, const T* b, T* c, int64_t c_stride) {
  for (int64_t j = 0; j < n; j += kPanelCols<T>) {
    for (int64_t i = 0; i < m; i += kPanelRows) {
      const T* a_panel = a + i * k;
      const T* b_panel = b + j * k;
      const int64_t rows = m - i, cols = n - j;
      if (rows >= kPanelRows && cols >= kPanelCols<T>) {
        panel_pair<T, Bytes, Rows, Chain>(k, a_panel, b_panel, c + i * c_stride + j, c_stride);
        continue;
      }
      T edge[kPanelRows * kPanelCols<T>] = {};
      const int64_t some_rows = rows < kPanelRows ? rows : kPanelRows;
      const int64_t some_cols = cols < kPanelCols<T> ? cols : kPanelCols<T>;
      for (int64_t r = 0; r < some_rows; ++r) {
        for (int64_t s = 0; s < some_cols; ++s) edge[r * kPanelCols<T> + s] = c[(i + r) * c_stride + j + s];
      }
      panel_pair<T, Bytes, Rows, Chain>(k, a_panel, b_panel, edge, kPanelCols<T>);
      for (int64_t r = 0; r < some_rows; ++r) {
        for (int64_t s = 0; s < some_cols; ++s) c[(i + r) * c_stride + j + s] = edge[r * kPanelCols<T> + s];
      }
    }
  }
}

template <typename T, bool Chain>
PARE_TARGET_AVX512 void panels_avx512(int64_t m, int64_t n, int64_t k, const T* a, const T* b, T* c, int64_t stride) {
  all_panels<T, 64, 12, Chain>(m, n, k, a, b, c, stride);
}
template <typename T, bool Chain>
PARE_TARGET_AVX2 void panels_avx2(int64_t m, int64_t n, int64_t k, const T* a, const T* b, T* c, int64_t stride) {
  all_panels<T, 32, 6, Chain>(m, n, k, a, b, c, stride);
}
template <typename T, bool Chain>
void panels_baseline(int64_t m, int64_t n, int64_t k, const T* a, const T* b, T* c, int64_t stride) {
  all_panels<T, 16, 4, Chain>(m, n, k, a, b, c, stride);
}

template <typename T, bool Chain>
auto panels_for(simd::Level level) {
  switch (level) {
    case simd::Level::avx512:
      return panels_avx512<T, Chain>;
    case simd::Level::avx2:
      return panels_avx2<T, Chain>;
    case simd::Level::baseline:
      break;
  }
  return panels_baseline<T, Chain>;
}

int64_t rounded_up(int64_t value, int64_t step) {
  return (value + step - 1) / step * step;
}

}  // namespace

template <typename T>
void add_product(T* c, int64_t c_stride, int64_t m, int64_t n, int64_t k, Strided<T> a, Strided<T> b, T sign,
                 Summation summation, simd::Level level) {
  if (m == 0 || n == 0 || k == 0) return;
  const auto panels = summation == Summation::chain ? panels_for<T, true>(level) : panels_for<T, false>(level);
  const int64_t depth = std::min(k, kProductBlock);
  const Aligned<T> a_packed(rounded_up(std::min(m, kRowsAtOnce), kPanelRows) * depth);
  const Aligned<T> b_packed(rounded_up(std::min(n, kColsAtOnce), kPanelCols<T>) * depth);
  for (int64_t j = 0; j < n; j += kColsAtOnce) {
    const int64_t cols = std::min(kColsAtOnce, n - j);
    for (int64_t p = 0; p < k; p += kProductBlock) {
      const int64_t some = std::min(kProductBlock, k - p);
      pack<T, kPanelCols<T>>(b.data + p * b.row_stride + j * b.col_stride, b.col_stride, b.row_stride, cols, some, T{1},
                             b_packed.data);
      for (int64_t i = 0; i < m; i += kRowsAtOnce) {
        const int64_t rows = std::min(kRowsAtOnce, m - i);
        pack<T, kPanelRows>(a.data + i * a.row_stride + p * a.col_stride, a.row_stride, a.col_stride, rows, some, sign,
                            a_packed.data);
        panels(rows, cols, some, a_packed.data, b_packed.data, c + i * c_stride + j, c_stride);
      }
    }
  }
}

template void add_product<float>(float*, int64_t, int64_t, int64_t, int64_t, Strided<float>, Strided<float>, float,
                                 Summation, simd::Level);
template void add_product<double>(double*, int64_t, int64_t, int64_t, int64_t, Strided<double>, Strided<double>, double,
                                  Summation, simd::Level);

}  // namespace pare
