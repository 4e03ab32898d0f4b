#include "pare/curvature/matmul.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

#include "pare/base/error.h"

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
PARE_INLINE void pack(const T* data, int64_t outer, int64_t inner, int64_t count, int64_t k, T sign, T* dst) {
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

// Rows of a piece: as many accumulators as the level has registers for.
template <int Bytes>
constexpr int kPieceRows = Bytes == 64   ? 12
                           : Bytes == 32 ? 6
                                         : 4;

template <typename T, int Bytes, bool Chain>
PARE_INLINE void panel_pair(int64_t k, const T* a, const T* b, T* c, int64_t c_stride) {
  constexpr int kCols = 2 * Bytes / static_cast<int>(sizeof(T)), kRows = kPieceRows<Bytes>;
  for (int i = 0; i < kPanelRows; i += kRows) {
    for (int j = 0; j < kPanelCols<T>; j += kCols) {
      piece<T, Bytes, kRows, Chain>(k, a + i, b + j, c + i * c_stride + j, c_stride);
    }
  }
}

// All panel pairs of packed A [m, k] and packed B [k, n].
template <typename T, int Bytes, bool Chain>
PARE_INLINE void all_panels(int64_t m, int64_t n, int64_t k, const T* a, const T* b, T* c, int64_t c_stride) {
  for (int64_t j = 0; j < n; j += kPanelCols<T>) {
    for (int64_t i = 0; i < m; i += kPanelRows) {
      const T* a_panel = a + i * k;
      const T* b_panel = b + j * k;
      const int64_t rows = m - i, cols = n - j;
      if (rows >= kPanelRows && cols >= kPanelCols<T>) {
        panel_pair<T, Bytes, Chain>(k, a_panel, b_panel, c + i * c_stride + j, c_stride);
        continue;
      }
      T edge[kPanelRows * kPanelCols<T>] = {};
      const int64_t some_rows = rows < kPanelRows ? rows : kPanelRows;
      const int64_t some_cols = cols < kPanelCols<T> ? cols : kPanelCols<T>;
      for (int64_t r = 0; r < some_rows; ++r) {
        for (int64_t s = 0; s < some_cols; ++s) edge[r * kPanelCols<T> + s] = c[(i + r) * c_stride + j + s];
      }
      panel_pair<T, Bytes, Chain>(k, a_panel, b_panel, edge, kPanelCols<T>);
      for (int64_t r = 0; r < some_rows; ++r) {
        for (int64_t s = 0; s < some_cols; ++s) c[(i + r) * c_stride + j + s] = edge[r * kPanelCols<T> + s];
      }
    }
  }
}

// What simd::run_at compiles for each level.
struct PackColumns {
  const float* x;
  int64_t stride, tokens, count;
  float *left, *right;
  template <int Bytes>
  PARE_INLINE void operator()(simd::Width<Bytes>) const {
    pack<float, kPanelRows>(x, 1, stride, count, tokens, 1.0f, left);
    pack<float, kPanelCols<float>>(x, 1, stride, count, tokens, 1.0f, right);
  }
};
struct AddTile {
  const float *left, *right;
  float* c;
  int64_t c_stride, rows, cols, tokens;
  template <int Bytes>
  PARE_INLINE void operator()(simd::Width<Bytes>) const {
    all_panels<float, Bytes, false>(rows, cols, tokens, left, right, c, c_stride);
  }
};

int64_t rounded_up(int64_t value, int64_t step) {
  return (value + step - 1) / step * step;
}

template <typename T>
struct Product {
  T* c;
  int64_t c_stride, m, n, k;
  Strided<T> a, b;
  T sign;
  T *a_packed, *b_packed;
};

template <typename T, bool Chain>
struct WholeProduct : Product<T> {
  template <int Bytes>
  PARE_INLINE void operator()(simd::Width<Bytes>) const {
    const Product<T>& x = *this;
    for (int64_t j = 0; j < x.n; j += kColsAtOnce) {
      const int64_t cols = std::min(kColsAtOnce, x.n - j);
      for (int64_t p = 0; p < x.k; p += kProductBlock) {
        const int64_t some = std::min(kProductBlock, x.k - p);
        pack<T, kPanelCols<T>>(x.b.data + p * x.b.row_stride + j * x.b.col_stride, x.b.col_stride, x.b.row_stride, cols,
                               some, T{1}, x.b_packed);
        for (int64_t i = 0; i < x.m; i += kRowsAtOnce) {
          const int64_t rows = std::min(kRowsAtOnce, x.m - i);
          pack<T, kPanelRows>(x.a.data + i * x.a.row_stride + p * x.a.col_stride, x.a.row_stride, x.a.col_stride, rows,
                              some, x.sign, x.a_packed);
          all_panels<T, Bytes, Chain>(rows, cols, some, x.a_packed, x.b_packed, x.c + i * x.c_stride + j, x.c_stride);
        }
      }
    }
  }
};

}  // namespace

template <typename T>
void add_product(T* c, int64_t c_stride, int64_t m, int64_t n, int64_t k, Strided<T> a, Strided<T> b, T sign,
                 Summation summation, simd::Level level) {
  if (m == 0 || n == 0 || k == 0) return;
  const int64_t depth = std::min(k, kProductBlock);
  const Aligned<T> a_packed(rounded_up(std::min(m, kRowsAtOnce), kPanelRows) * depth);
  const Aligned<T> b_packed(rounded_up(std::min(n, kColsAtOnce), kPanelCols<T>) * depth);
  const Product<T> x{c, c_stride, m, n, k, a, b, sign, a_packed.data, b_packed.data};
  if (summation == Summation::chain) {
    simd::run_at(level, WholeProduct<T, true>{x});
  } else {
    simd::run_at(level, WholeProduct<T, false>{x});
  }
}

void PackedColumns::Free::operator()(float* data) const {
  ::operator delete (data, std::align_val_t{64});
}

PackedColumns::PackedColumns(int64_t columns) : columns_(columns) {
  static_assert(kStep % kPanelRows == 0 && kStep % kPanelCols<float> == 0);
  const auto bytes = static_cast<size_t>(rounded_up(columns, kStep) * kProductBlock) * sizeof(float);
  for (auto* side : {&left_, &right_}) side->reset(static_cast<float*>(::operator new (bytes, std::align_val_t{64})));
}

void PackedColumns::begin(const float* x, int64_t stride, int64_t tokens) {
  PARE_ASSERT(tokens <= kProductBlock);
  x_ = x;
  stride_ = stride;
  tokens_ = tokens;
}

void PackedColumns::pack(int64_t first, int64_t count) {
  PARE_ASSERT(first % kStep == 0 && first + count <= columns_);
  const int64_t at = first * tokens_;  // panels lie one after the other
  simd::run_at(simd::best_level(),
               PackColumns{x_ + first, stride_, tokens_, count, left_.get() + at, right_.get() + at});
}

void PackedColumns::add_tile(const PackedColumns& x, const PackedColumns& y, float* c, int64_t c_stride, int64_t row,
                             int64_t rows, int64_t col, int64_t cols) {
  PARE_ASSERT(x.tokens_ == y.tokens_ && row % kStep == 0 && col % kStep == 0);
  simd::run_at(simd::best_level(), AddTile{x.left_.get() + row * x.tokens_, y.right_.get() + col * x.tokens_, c,
                                           c_stride, rows, cols, x.tokens_});
}

template void add_product<float>(float*, int64_t, int64_t, int64_t, int64_t, Strided<float>, Strided<float>, float,
                                 Summation, simd::Level);
template void add_product<double>(double*, int64_t, int64_t, int64_t, int64_t, Strided<double>, Strided<double>, double,
                                  Summation, simd::Level);

}  // namespace pare
