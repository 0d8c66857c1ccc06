// Sixteen samples side by side, as a vector of the compiler; AVX-512 instructions where it has no words for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

constexpr int LANES = 16;
typedef float Lanes __attribute__((vector_size(64)));
typedef int32_t IntLanes __attribute__((vector_size(64)));
typedef uint8_t ByteLanes __attribute__((vector_size(16)));

inline Lanes load(const float* from) {
  Lanes value;
  memcpy(&value, from, sizeof value);
  return value;
}

inline void store(float* to, Lanes value) { memcpy(to, &value, sizeof value); }

inline IntLanes load_bytes(const uint8_t* from) {
  ByteLanes value;
  memcpy(&value, from, sizeof value);
  return __builtin_convertvector(value, IntLanes);
}

// Lane i gets table[index[i]], for a table of `size` entries, a power of two.
template <int size>
inline __attribute__((always_inline)) Lanes look_up(const float* table, IntLanes index) {
#if defined(__AVX512F__)
  if constexpr (size == 16) {
    return (Lanes)_mm512_permutexvar_ps((__m512i)index, (__m512)load(table));
  } else if constexpr (size == 32) {
    return (Lanes)_mm512_permutex2var_ps((__m512)load(table), (__m512i)index, (__m512)load(table + 16));
  } else if constexpr (size == 64) {
    const __mmask16 upper = _mm512_test_epi32_mask((__m512i)index, _mm512_set1_epi32(32));
    return (Lanes)_mm512_mask_blend_ps(upper, (__m512)look_up<32>(table, index),
                                       (__m512)look_up<32>(table + 32, index));
  } else if constexpr (size > 64) {
    return (Lanes)_mm512_i32gather_ps((__m512i)index, table, 4);
  }
#endif
  Lanes result;
  for (int lane = 0; lane < LANES; ++lane) result[lane] = table[index[lane]];
  return result;
}

// Lane i of the result is the sum over the lanes of rows[i]; overwrites `rows`.
inline __attribute__((always_inline)) Lanes sum_rows(Lanes* rows) {
  const IntLanes lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#pragma GCC unroll 4
  for (int half = LANES / 2; half > 0; half /= 2) {
    // Lanes with this bit clear go on with row i, the others with row i + half.
    const IntLanes is_set = (lane & half) != 0;
    const IntLanes own = (lane & ~half) | (is_set & LANES);
    const IntLanes other = own | half;
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i)
      rows[i] = __builtin_shuffle(rows[i], rows[i + half], own) + __builtin_shuffle(rows[i], rows[i + half], other);
  }
  return rows[0];
}
