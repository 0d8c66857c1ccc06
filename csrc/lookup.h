// Arithmetic of the training rules on one value type V: a float, or several samples side by side.
//
// Shared by the CPU and the GPU kernels, so there are no includes. Pin j of a node is address bit j, least significant
// first. The pins of a node are taken in two halves, the low ones and the high ones: a table of 2**n entries is a
// matrix with a row per setting of the high pins and a column per setting of the low ones.
#ifndef DL_LOOKUP_H
#define DL_LOOKUP_H

#ifdef __CUDACC__
#define DL_INLINE __device__ __forceinline__
#define DL_UNROLL(count) _Pragma("unroll")
#else
#define DL_INLINE inline __attribute__((always_inline))
#define DL_PRAGMA(text) _Pragma(#text)
#define DL_UNROLL(count) DL_PRAGMA(GCC unroll count)
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
  } else if constexpr (pins == 1) {
    weights[0] = 1.0f - x[0];
    weights[1] = x[0];
  } else {
    constexpr int half = 1 << (pins - 1);
    corner_weights<pins - 1>(x, weights);
    DL_UNROLL(16)
    for (int a = 0; a < half; ++a) {
      const V set = weights[a] * x[pins - 1];
      weights[half + a] = set;
      weights[a] = weights[a] - set;
    }
  }
}

// sums[r] = the sum over the columns of table[r * row_stride + c * column_stride] * weights[c].
template <int rows, int columns, class V>
DL_INLINE void weigh_columns(const float* table, int row_stride, int column_stride, const V* weights, V* sums) {
  DL_UNROLL(16)
  for (int r = 0; r < rows; ++r) sums[r] = table[r * row_stride] * weights[0];
  DL_UNROLL(16)
  for (int c = 1; c < columns; ++c)
    DL_UNROLL(16)
    for (int r = 0; r < rows; ++r) sums[r] += table[r * row_stride + c * column_stride] * weights[c];
}

// A polynomial that is linear in each of its pins, from its coefficients: coefficients[a * stride] is that of the
// product of the pins whose bits are set in a.
template <int pins, class V>
DL_INLINE V evaluate_polynomial(const float* coefficients, int stride, const V* x) {
  if constexpr (pins == 0) {
    return V{} + coefficients[0];
  } else if constexpr (pins == 1) {
    return coefficients[0] + x[0] * coefficients[stride];
  } else {
    const V low = evaluate_polynomial<pins - 1>(coefficients, stride, x);
    const V high = evaluate_polynomial<pins - 1>(coefficients + (stride << (pins - 1)), stride, x);
    return low + x[pins - 1] * high;
  }
}

// The value at x, linear in each pin, between values[a] at the corners of the pins; overwrites them.
template <int pins, class V>
DL_INLINE V interpolate(V* values, const V* x) {
  DL_UNROLL(4)
  for (int j = pins - 1; j >= 0; --j)
    DL_UNROLL(16)
    for (int a = 0; a < 1 << j; ++a) values[a] += x[j] * (values[a | 1 << j] - values[a]);
  return values[0];
}

// The derivatives of such a polynomial in each of its pins, from coefficients that are values; overwrites them.
template <int pins, class V>
DL_INLINE void derivatives(V* coefficients, const V* x, V* result) {
  if constexpr (pins == 1) {
    result[0] = coefficients[1];
  } else if constexpr (pins > 1) {
    constexpr int half = 1 << (pins - 1);
    V slope[half];
    DL_UNROLL(16)
    for (int a = 0; a < half; ++a) slope[a] = coefficients[half + a];
    DL_UNROLL(16)
    for (int a = 0; a < half; ++a) coefficients[a] += x[pins - 1] * slope[a];
    DL_UNROLL(8)
    for (int j = pins - 2; j >= 0; --j)
      DL_UNROLL(16)
      for (int a = 0; a < 1 << j; ++a) slope[a] += x[j] * slope[a | 1 << j];
    result[pins - 1] = slope[0];
    derivatives<pins - 1>(coefficients, x, result);
  }
}

#endif
