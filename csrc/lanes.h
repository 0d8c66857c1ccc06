// Sixteen samples side by side, as a vector of the compiler; AVX-512 instructions where it has no words for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
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

// Stores to a multiple of 64 bytes without first reading that memory into the caches.
inline void store_past_caches(float* to, Lanes value) {
#if defined(__AVX512F__)
  _mm512_stream_ps(to, (__m512)value);
#elif defined(__SSE2__)
  __m128 parts[4];
  memcpy(parts, &value, sizeof value);
  for (int i = 0; i < 4; ++i) _mm_stream_ps(to + 4 * i, parts[i]);
#else
  store(to, value);
#endif
}

// Makes what this thread stored past the caches visible to others before anything that it stores later.
inline void finish_storing_past_caches() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// While one exists, this thread computes with 0 instead of numbers below 1e-38, which take a hundred times longer.
// Gradients of well-learnt samples are full of them.
class FlushTinyNumbers {
#if defined(__SSE2__)
  const unsigned before = _mm_getcsr();

 public:
  FlushTinyNumbers() { _mm_setcsr(before | 0x8040); }  // flush results to zero, take operands as zero
  ~FlushTinyNumbers() { _mm_setcsr(before); }
#else
 public:
  FlushTinyNumbers() {}
#endif
};

// The first `count` lanes from memory, the others as in `rest`.
inline Lanes load_some(const float* from, int count, Lanes rest) {
  if (count >= LANES) return load(from);
  memcpy(&rest, from, count * sizeof(float));
  return rest;
}

inline void store_some(float* to, int count, Lanes value) {
  if (count >= LANES) return store(to, value);
  memcpy(to, &value, count * sizeof(float));
}

inline IntLanes lane_numbers() { return IntLanes{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }

inline IntLanes load_bytes(const uint8_t* from) {
#if defined(__AVX512F__)
  return (IntLanes)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from));
#else
  ByteLanes value;
  memcpy(&value, from, sizeof value);
  return __builtin_convertvector(value, IntLanes);
#endif
}

// Lane i gets table[index[i]], for a table of `size` entries, a power of two.
template <int size>
inline __attribute__((always_inline)) Lanes look_up(const float* table, IntLanes index) {
#if defined(__AVX512F__)
  if constexpr (size <= 16) {
    return (Lanes)_mm512_permutexvar_ps((__m512i)index, _mm512_maskz_loadu_ps((1 << size) - 1, table));
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

// Lane i of the result is the sum over the lanes of rows[i] for i below `count`, a power of two; overwrites `rows`.
template <int count = LANES>
inline __attribute__((always_inline)) Lanes sum_rows(Lanes* rows) {
  const IntLanes lane = lane_numbers();
#pragma GCC unroll 4
  for (int half = count / 2; half > 0; half /= 2) {
    // Lanes with this bit clear go on with row i, the others with row i + half.
    const IntLanes is_set = (lane & half) != 0;
    const IntLanes own = (lane & ~half) | (is_set & LANES);
    const IntLanes other = own | half;
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i)
      rows[i] = __builtin_shuffle(rows[i], rows[i + half], own) + __builtin_shuffle(rows[i], rows[i + half], other);
  }
#pragma GCC unroll 4
  for (int half = LANES / 2; half >= count; half /= 2) rows[0] += __builtin_shuffle(rows[0], lane ^ half);
  return rows[0];
}

// Exchanges lane j of rows[i] with lane i of rows[j].
inline __attribute__((always_inline)) void transpose_square(Lanes* rows) {
  const IntLanes lane = lane_numbers();
#pragma GCC unroll 4
  for (int half = LANES / 2; half > 0; half /= 2) {
    // Of two rows `half` apart, lanes with this bit set of the first change places with lanes without it of the second.
    const IntLanes is_set = (lane & half) != 0;
    const IntLanes first = (lane & ~half) | (is_set & LANES), second = first | half;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; ++i)
      if (!(i & half)) {
        const Lanes low = rows[i], high = rows[i | half];
        rows[i] = __builtin_shuffle(low, high, first);
        rows[i | half] = __builtin_shuffle(low, high, second);
      }
  }
}

// The sum over the lanes, in every lane.
inline __attribute__((always_inline)) Lanes sum_lanes(Lanes value) {
#pragma GCC unroll 4
  for (int half = LANES / 2; half > 0; half /= 2) value += __builtin_shuffle(value, lane_numbers() ^ half);
  return value;
}

// The largest lane, in every lane.
inline __attribute__((always_inline)) Lanes max_lanes(Lanes value) {
#pragma GCC unroll 4
  for (int half = LANES / 2; half > 0; half /= 2) {
    const Lanes other = __builtin_shuffle(value, lane_numbers() ^ half);
    value = other > value ? other : value;
  }
  return value;
}

// One bit per lane, set where the value is not 0.
inline uint16_t nonzero_bits(Lanes value) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)value, _mm512_setzero_ps(), _CMP_NEQ_UQ);
#else
  uint16_t bits = 0;
  for (int lane = 0; lane < LANES; ++lane) bits |= uint16_t(value[lane] != 0) << lane;
  return bits;
#endif
}

// Stores one byte per lane, 1 where the value is at least the threshold, else 0.
inline __attribute__((always_inline)) void store_at_least_bytes(uint8_t* to, Lanes value, float threshold) {
  const ByteLanes bytes = __builtin_convertvector((value >= threshold) & 1, ByteLanes);
  memcpy(to, &bytes, sizeof bytes);
}

// Stores one bit per lane, set where the value is at least the threshold.
inline __attribute__((always_inline)) void store_at_least_bits(uint16_t* to, Lanes value, Lanes threshold) {
#if defined(__AVX512F__)
  _store_mask16(to, _mm512_cmp_ps_mask((__m512)value, (__m512)threshold, _CMP_GE_OQ));
#else
  uint16_t bits = 0;
  for (int lane = 0; lane < LANES; ++lane) bits |= uint16_t(value[lane] >= threshold[lane]) << lane;
  *to = bits;
#endif
}

// Whether any lane is not 0.
inline bool any(IntLanes value) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)value, (__m512i)value) != 0;
#else
  int32_t all = 0;
  for (int lane = 0; lane < LANES; ++lane) all |= value[lane];
  return all != 0;
#endif
}

// One bit per lane, set where the value is `number`.
inline __attribute__((always_inline)) uint16_t equal_bits(IntLanes value, int number) {
#if defined(__AVX512F__)
  return _mm512_cmpeq_epi32_mask((__m512i)value, _mm512_set1_epi32(number));
#else
  uint16_t bits = 0;
  for (int lane = 0; lane < LANES; ++lane) bits |= uint16_t(value[lane] == number) << lane;
  return bits;
#endif
}

// sum + value in the lanes whose bit is set, sum in the others.
inline __attribute__((always_inline)) Lanes add_where(uint16_t bits, Lanes sum, Lanes value) {
#if defined(__AVX512F__)
  return (Lanes)_mm512_mask_add_ps((__m512)sum, bits, (__m512)sum, (__m512)value);
#else
  const IntLanes own = 1 << lane_numbers();
  return sum + ((own & bits) != 0 ? value : Lanes{});
#endif
}

// The exponential function of numbers up to 0, within 2e-7 of the result; below -87 it is that of -87. A NaN stays one.
inline __attribute__((always_inline)) Lanes exp_of_negative(Lanes x) {
  const Lanes shift = Lanes{} + 12582912.0f;  // 1.5 * 2**23: adding it rounds to an integer
  x = x < -87.0f ? Lanes{} - 87.0f : x;
  const Lanes power = (x * 1.44269504f + shift) - shift;
  const Lanes rest = (x - power * 0.693359375f) + power * 2.12194440e-4f;
  Lanes sum = rest * (1.0f / 720) + (1.0f / 120);
  sum = sum * rest + (1.0f / 24);
  sum = sum * rest + (1.0f / 6);
  sum = sum * rest + 0.5f;
  sum = sum * rest + 1.0f;
  sum = sum * rest + 1.0f;
  const IntLanes exponent = (__builtin_convertvector(power, IntLanes) + 127) << 23;
  Lanes scale;
  memcpy(&scale, &exponent, sizeof scale);
  return sum * scale;
}
