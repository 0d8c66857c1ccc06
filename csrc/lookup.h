// Arithmetic of the training rules on one value type V: a float, or several samples side by side.
//
// Shared by the CPU and the GPU kernels, so there are no includes. Pin j of a node is address bit j, least significant
// first. The pins of a node are taken in two halves, the low ones and the high ones: a table of 2**n entries is a
// matrix with a row per setting of the high pins and a column per setting of the low ones.
#pragma once

#ifdef __CUDACC__
#define DL_INLINE __device__ __forceinline__
#else
#define DL_INLINE inline __attribute__((always_inline))
#endif

template <int n>
struct Halves {
  static constexpr int low_pins = n / 2, high_pins = n - n / 2;
  static constexpr int columns = 1 << low_pins, rows = 1 << high_pins;
};

// weights[a] = the product over the pins of x_j where bit j of a is set, of 1 - x_j where it is not.
template <int pins, class V>
DL_INLINE void corner_weights(const V* x, V* weights) {
  if constexpr (pins == 0) {
    weights[0] = V{} + 1.0f;
  } else {
    weights[0] = 1.0f - x[0];
    weights[1] = x[0];
#pragma GCC unroll 8
    for (int j = 1; j < pins; ++j)
#pragma GCC unroll 16
      for (int a = 0; a < 1 << j; ++a) {
        V set = weights[a] * x[j];
        weights[a | 1 << j] = set;
        weights[a] = weights[a] - set;
      }
  }
}

// sums[r] = the sum over the columns of table[r * row_stride + c * column_stride] * weights[c].
template <int rows, int columns, class V>
DL_INLINE void weigh_columns(const float* table, int row_stride, int column_stride, const V* weights, V* sums) {
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) sums[r] = table[r * row_stride] * weights[0];
#pragma GCC unroll 16
  for (int c = 1; c < columns; ++c)
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) sums[r] += table[r * row_stride + c * column_stride] * weights[c];
}

// The derivative of the multilinear extension of `values` in each of its pins; overwrites `values`.
template <int pins, class V>
DL_INLINE void derivatives(V* values, const V* x, V* result) {
  if constexpr (pins == 1) {
    result[0] = values[1] - values[0];
  } else if constexpr (pins > 1) {
    constexpr int half = 1 << (pins - 1);
    V differences[half];
#pragma GCC unroll 16
    for (int a = 0; a < half; ++a) differences[a] = values[half + a] - values[a];
#pragma GCC unroll 16
    for (int a = 0; a < half; ++a) values[a] += x[pins - 1] * differences[a];
#pragma GCC unroll 8
    for (int j = pins - 2; j >= 0; --j)
#pragma GCC unroll 16
      for (int a = 0; a < 1 << j; ++a) differences[a] += x[j] * (differences[a + (1 << j)] - differences[a]);
    result[pins - 1] = differences[0];
    derivatives<pins - 1>(values, x, result);
  }
}
