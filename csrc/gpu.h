// What the GPU kernels share. Put before each of them, after lookup.h; there are no includes, as NVRTC has none.
//
// Rows are one feature, output or pin at all samples of a batch, side by side; the lanes of a warp work on neighbouring
// samples. Rows hold Row, float or, with DL_ROWS_BF16, bfloat16; all arithmetic, tables and their gradients are float.
// Sums are taken in one fixed order, and what belongs to which warp depends on shapes alone: equal arguments give equal
// bits. All that the CPU's compiler does not know has a twin in tests/difflut/gpu_shim.h, which DL_EMU stands for.
#ifndef DL_EMU
#define DL_SHARED(type, name) extern __shared__ __align__(16) type name[]
DL_INLINE float dl_swap(float value, int distance) { return __shfl_xor_sync(0xffffffff, value, distance); }
DL_INLINE int dl_swap(int value, int distance) { return __shfl_xor_sync(0xffffffff, value, distance); }
DL_INLINE void dl_sync_warp() { __syncwarp(); }
DL_INLINE void dl_sync_block() { __syncthreads(); }
DL_INLINE void dl_trap() { __trap(); }
DL_INLINE float dl_float_of_bits(unsigned bits) { return __uint_as_float(bits); }
DL_INLINE unsigned dl_bits_of_float(float value) { return __float_as_uint(value); }
DL_INLINE float dl_exp(float x) { return expf(x); }
#endif

#define DL_KERNEL extern "C" __global__ void

constexpr int WARP = 32;

typedef long long Index;

// The row that an index names. One that does not exist ends the kernel, as it does in torch.
template <class T>
DL_INLINE const T* find_row(const T* rows, Index index, int count, int batch) {
  if (index < 0 || index >= count) dl_trap();
  return rows + index * batch;
}

#ifdef DL_ROWS_BF16
typedef unsigned short Row;
DL_INLINE float widen(Row value) { return dl_float_of_bits(unsigned(value) << 16); }
DL_INLINE Row narrow(float value) {  // to nearest, ties to even
  const unsigned bits = dl_bits_of_float(value);
  if (value != value) return 0x7fc0;
  return Row((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
#else
typedef float Row;
DL_INLINE float widen(Row value) { return value; }
DL_INLINE Row narrow(float value) { return value; }
#endif

// Several samples of one lane, 32 apart.
template <int count>
struct Samples {
  float at[count];
};

#define DL_OPERATOR(name, Left, left, Right, right)                       \
  template <int count>                                                    \
  DL_INLINE Samples<count> operator name(const Left a, const Right b) {   \
    Samples<count> result;                                                \
    DL_UNROLL(4)                                                          \
    for (int i = 0; i < count; ++i) result.at[i] = left name right;       \
    return result;                                                        \
  }
DL_OPERATOR(+, Samples<count>&, a.at[i], Samples<count>&, b.at[i])
DL_OPERATOR(+, Samples<count>&, a.at[i], float, b)
DL_OPERATOR(+, float, a, Samples<count>&, b.at[i])
DL_OPERATOR(-, Samples<count>&, a.at[i], Samples<count>&, b.at[i])
DL_OPERATOR(-, float, a, Samples<count>&, b.at[i])
DL_OPERATOR(*, Samples<count>&, a.at[i], Samples<count>&, b.at[i])
DL_OPERATOR(*, float, a, Samples<count>&, b.at[i])
DL_OPERATOR(*, Samples<count>&, a.at[i], float, b)
#undef DL_OPERATOR

template <int count>
DL_INLINE Samples<count>& operator+=(Samples<count>& sum, const Samples<count>& value) {
  return sum = sum + value;
}

// The samples of a row from `first` on; 0 beyond the batch.
template <int count>
DL_INLINE Samples<count> read_samples(const Row* row, int first, int batch) {
  Samples<count> result;
  DL_UNROLL(4)
  for (int i = 0; i < count; ++i) result.at[i] = first + i * WARP < batch ? widen(row[first + i * WARP]) : 0.0f;
  return result;
}

template <int count>
DL_INLINE void write_samples(Row* row, int first, int batch, const Samples<count>& value) {
  DL_UNROLL(4)
  for (int i = 0; i < count; ++i)
    if (first + i * WARP < batch) row[first + i * WARP] = narrow(value.at[i]);
}

// Adds `count` values, a power of two, over the lanes, with one exchange per two of them: a lane keeps half of them at
// a time. Lane l ends with sums l * kept to (l + 1) * kept - 1, where kept is count / 32; if count is below 32, with
// sum l / (32 / count).
template <int count, int distance = WARP / 2>
DL_INLINE void sum_over_lanes(float* values, int lane) {
  if constexpr (distance > 0 && count > 1) {
    const bool is_upper = lane & distance;
    DL_UNROLL(32)
    for (int i = 0; i < count / 2; ++i) {
      const float own = is_upper ? values[i + count / 2] : values[i];
      const float other = is_upper ? values[i] : values[i + count / 2];
      values[i] = own + dl_swap(other, distance);
    }
    sum_over_lanes<count / 2, distance / 2>(values, lane);
  } else if constexpr (distance > 0) {
    values[0] += dl_swap(values[0], distance);
    sum_over_lanes<1, distance / 2>(values, lane);
  }
}

// Writes the first `limit` sums that `sum_over_lanes` left.
template <int count>
DL_INLINE void write_sums(const float* values, int lane, float* result, int limit) {
  constexpr int kept = count < WARP ? 1 : count / WARP, lanes_per_sum = count < WARP ? WARP / count : 1;
  const int first = lane / lanes_per_sum * kept;
  if (lane % lanes_per_sum != 0) return;
  DL_UNROLL(8)
  for (int i = 0; i < kept; ++i)
    if (first + i < limit) result[first + i] = values[i];
}
