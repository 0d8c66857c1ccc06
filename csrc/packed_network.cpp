// Runs a network of look-up tables on packed bits, 512 samples at a time.
//
// A network is data, which difflut_compiler/packed.py writes: nothing is compiled per network. Every bit of it is a
// row, a vector with one bit per sample; rows 0 and 1 are the constants. First the features are compared with
// thresholds, which fills the rows of the inputs, then the code is run, whose instructions read and write rows.

// Marks are 16 bits each; to put four of them into a vector before they are stored takes longer than to store them.
#pragma GCC optimize("no-tree-slp-vectorize")

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include <omp.h>

#include "lanes.h"
#include "lookup.h"

namespace {

typedef uint64_t Bits __attribute__((vector_size(64)));
constexpr int WORDS = sizeof(Bits) / sizeof(uint64_t), GROUP = 64, SAMPLES = WORDS * GROUP;
constexpr int MAX_WIDTH = 64;
constexpr int TOGETHER = 8;  // samples that are compared at a time
constexpr int LINE_BYTES = 64;
// Marks of a chunk, and a line more: at a power of two, those of different chunks would displace each other in the caches.
constexpr int CHUNK_MARKS = SAMPLES + LINE_BYTES / sizeof(uint16_t);

// As difflut_compiler/packed.py numbers them.
enum { LUTS, COUNT, ADD, GREATER, MUX, ARGMAX };

DL_INLINE Bits choose(Bits select, Bits when_0, Bits when_1) {
#if defined(__AVX512F__)
  return (Bits)_mm512_ternarylogic_epi64((__m512i)select, (__m512i)when_1, (__m512i)when_0, 0xca);
#else
  return when_0 ^ ((when_0 ^ when_1) & select);
#endif
}

DL_INLINE Bits parity(Bits a, Bits b, Bits c) {
#if defined(__AVX512F__)
  return (Bits)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, 0x96);
#else
  return a ^ b ^ c;
#endif
}

DL_INLINE Bits majority(Bits a, Bits b, Bits c) { return choose(a ^ b, a, c); }

// Whether b, of which this is the next higher bit, is greater than a.
DL_INLINE Bits is_greater(Bits a, Bits b, Bits so_far) { return choose(a ^ b, so_far, b); }

// What sixteen features side by side are asked.
struct Chunk {
  int32_t start;            // the first of the features
  int32_t bit;              // the bit of the integer that is read; -1: the features are compared
  float thresholds[LANES];  // bits are 1 from here on; NaN: never
  int32_t rows[LANES];      // where the bits go
};

struct Network {
  const Chunk* chunks;         // those of the same features one after the other
  const int32_t* code;
  const uint64_t* masks;       // the entries of tables of up to 3 inputs, as words of equal bits
  const uint16_t* picks;       // the entries of others, four by four, as offsets in an array of 16 vectors
  const int32_t* output_rows;  // of the bits of every result, lowest first
  const int32_t* output_ends;  // where those of each result end
  int64_t features, chunk_count, code_length, row_count, outputs;
};

#if defined(__GFNI__) && defined(__AVX512VBMI__)
// Where each byte of a vector comes from when the marks are turned.
struct Places {
  uint8_t squares[2][64];  // of 128 bytes of marks: all lower bytes, all upper ones, each eight in falling order
  uint8_t columns[64];     // byte i of all squares one after the other
  constexpr Places() : squares(), columns() {
    for (int square = 0; square < 8; ++square)
      for (int i = 0; i < 8; ++i) {
        for (int half = 0; half < 2; ++half) squares[half][8 * square + i] = 2 * (8 * square + 7 - i) + half;
        columns[8 * i + square] = 8 * square + i;
      }
  }
};
alignas(64) constexpr Places PLACES;
#endif

// words[j] gets bit j of each of 64 marks, the first one lowest.
DL_INLINE void transpose(const uint16_t* marks, uint64_t* words) {
#if defined(__GFNI__) && defined(__AVX512VBMI__)
  const __m512i low = _mm512_loadu_si512(marks), high = _mm512_loadu_si512(marks + 32);
  const __m512i columns = _mm512_loadu_si512(PLACES.columns);
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const __m512i squares = _mm512_permutex2var_epi8(low, _mm512_loadu_si512(PLACES.squares[half]), high);
    // A matrix of bits times the eight unit vectors: its columns, from rows in falling order.
    const __m512i turned = _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64(0x8040201008040201), squares, 0);
    _mm512_storeu_si512(words + 8 * half, _mm512_permutexvar_epi8(columns, turned));
  }
#elif defined(__AVX512BW__)
  const __m512i low = _mm512_loadu_si512(marks), high = _mm512_loadu_si512(marks + 32);
#pragma GCC unroll 16
  for (int j = 0; j < LANES; ++j) {
    const __m512i bit = _mm512_set1_epi16(1 << j);
    words[j] = _mm512_test_epi16_mask(low, bit) | uint64_t(_mm512_test_epi16_mask(high, bit)) << 32;
  }
#else
  uint8_t bytes[LANES][8];
  for (int s = 0; s < GROUP; s += 8)
    for (int half = 0; half < 2; ++half) {
      uint64_t square = 0;  // row i is a byte: eight bits of mark s + i
      for (int i = 0; i < 8; ++i) square |= uint64_t(uint8_t(marks[s + i] >> (8 * half))) << (8 * i);
      uint64_t swap = (square ^ square >> 7) & 0x00aa00aa00aa00aa;
      square ^= swap ^ swap << 7;
      swap = (square ^ square >> 14) & 0x0000cccc0000cccc;
      square ^= swap ^ swap << 14;
      swap = (square ^ square >> 28) & 0x00000000f0f0f0f0;
      square ^= swap ^ swap << 28;
      for (int j = 0; j < 8; ++j) bytes[8 * half + j][s / 8] = uint8_t(square >> (8 * j));
    }
  memcpy(words, bytes, sizeof bytes);
#endif
}

DL_INLINE Lanes load_numbers(const float* from) { return load(from); }
DL_INLINE Lanes load_numbers(const uint8_t* from) { return __builtin_convertvector(load_bytes(from), Lanes); }

// Brings what is read from the beginning to the end into the L2 cache before it is needed.
class ReadAhead {
  static constexpr int LEAD_BYTES = 1 << 16;
  const char *next, *limit;

 public:
  explicit ReadAhead(const void* begin) : next((const char*)begin), limit(next) {}

  // Says that everything before this place has been read.
  void advance(const void* place) {
    next = std::max(next, (const char*)place);
    limit = (const char*)place + LEAD_BYTES;
  }

  DL_INLINE void fetch(int lines) {
    for (; lines > 0 && next < limit; --lines, next += LINE_BYTES) __builtin_prefetch(next, 0, 2);
  }
};

// Some samples side by side in memory: all of their features, and then zeros, up to a multiple of 16.
template <class Number>
class Batch {
  static_assert(GROUP % TOGETHER == 0);
  std::vector<Number> copy;
  const int64_t width, padded;

 public:
  const Number* samples;
  int64_t stride;

  explicit Batch(int64_t width)
      : copy(TOGETHER * ((width + LANES - 1) / LANES * LANES)), width(width), padded(copy.size() / TOGETHER) {}

  // Takes the next `count` samples; where there are fewer, or ends to fill up, they are copied.
  void take(const Number* features, int64_t count) {
    stride = padded;
    samples = width == padded && count >= TOGETHER ? features : copy.data();
    if (samples == features) return;
    for (int64_t i = 0; i < std::min<int64_t>(TOGETHER, count); ++i)
      memcpy(copy.data() + i * padded, features + i * width, width * sizeof(Number));
  }
};

// Asks the features of a batch what the chunks ask them: a mark per sample and chunk, with a bit per feature. Adds to
// `largest` the largest magnitude of each lane, as the bits of a float.
template <class Number>
void mark_features(const Network& network, const Batch<Number>& batch, uint16_t* marks, IntLanes& largest,
                   ReadAhead& ahead) {
  const Chunk *chunk = network.chunks, *end = chunk + network.chunk_count;
  while (chunk < end) {
    const int32_t start = chunk->start;
    Lanes x[TOGETHER];
    ahead.fetch(TOGETHER * LANES * sizeof(Number) / LINE_BYTES);
#pragma GCC unroll 8
    for (int i = 0; i < TOGETHER; ++i) {
      x[i] = load_numbers(batch.samples + i * batch.stride + start);
      const IntLanes magnitude = (IntLanes)x[i] & 0x7fffffff;
      largest = magnitude > largest ? magnitude : largest;
    }
    for (; chunk < end && chunk->start == start; ++chunk, marks += CHUNK_MARKS) {
      if (chunk->bit < 0) {
        const Lanes thresholds = load(chunk->thresholds);
#pragma GCC unroll 8
        for (int i = 0; i < TOGETHER; ++i) store_at_least_bits(marks + i, x[i], thresholds);
      } else {
        for (int i = 0; i < TOGETHER; ++i)
          marks[i] = nonzero_bits(
              __builtin_convertvector(__builtin_convertvector(x[i], IntLanes) & 1 << chunk->bit, Lanes));
      }
    }
  }
}

// Fills the rows of the inputs; returns whether a feature that is asked something is not a number.
template <class Number>
bool read_features(const Network& network, const Number* features, int64_t count, Batch<Number>& batch, Bits* rows,
                   uint16_t* marks, ReadAhead& ahead) {
  IntLanes largest = {};
  for (int64_t s = 0; s < count; s += TOGETHER) {
    const Number* samples = features + s * network.features;
    ahead.advance(samples);
    batch.take(samples, count - s);
    mark_features(network, batch, marks + s, largest, ahead);
  }
  for (int64_t c = 0; c < network.chunk_count; ++c) {
    uint64_t words[WORDS][LANES];
    for (int word = 0; word < WORDS; ++word) transpose(marks + c * CHUNK_MARKS + word * GROUP, words[word]);
    ahead.fetch(2);  // of the next samples, while nothing else is read from memory
#pragma GCC unroll 16
    for (int j = 0; j < LANES; ++j) {
      Bits& row = rows[network.chunks[c].rows[j]];
      for (int word = 0; word < WORDS; ++word) row[word] = words[word][j];
    }
  }
  return any(largest > 0x7f800000);  // infinity
}

// The entry of a table that `pins` select; pin j is address bit j, and `leaf(a)` are the entries whose address without
// the lowest `leaf_pins` bits is a.
template <int n, int leaf_pins, class Leaf>
DL_INLINE Bits select_entry(const Bits* pins, int address, const Leaf& leaf) {
  if constexpr (n == leaf_pins) {
    return leaf(address);
  } else {
    return choose(pins[n - 1], select_entry<n - 1, leaf_pins>(pins, 2 * address, leaf),
                  select_entry<n - 1, leaf_pins>(pins, 2 * address + 1, leaf));
  }
}

template <int n>
DL_INLINE Bits read_small_table(const Bits* pins, const uint64_t* masks) {
  return select_entry<n, 0>(pins, 0, [=](int address) { return Bits{} + masks[address]; });
}

// All functions of two bits: function f is bit 2 * b + a of f.
DL_INLINE void list_functions(Bits a, Bits b, Bits* functions) {
  functions[0] = Bits{};
  functions[1] = ~(a | b);
  functions[2] = a & ~b;
  functions[3] = ~b;
  functions[4] = b & ~a;
  functions[5] = ~a;
  functions[6] = a ^ b;
  functions[7] = ~(a & b);
#pragma GCC unroll 8
  for (int f = 0; f < 8; ++f) functions[15 - f] = ~functions[f];
}

template <int n>
DL_INLINE Bits read_table(const Bits* pins, const uint16_t* picks) {
  Bits functions[16];
  list_functions(pins[0], pins[1], functions);
  const char* place = (const char*)functions;
  if constexpr (n <= 6) {
    return select_entry<n, 2>(pins, 0, [=](int address) { return *(const Bits*)(place + picks[address]); });
  } else {
    Bits halves[n - 5];  // halves[k]: what the pins up to 5 + k select, where the next one is 0
    for (int part = 0; part < 1 << (n - 6); ++part) {
      const uint16_t* own = picks + part * 16;
      Bits value = select_entry<6, 2>(pins, 0, [=](int address) { return *(const Bits*)(place + own[address]); });
      int k = 0;
      for (; part >> k & 1; ++k) value = choose(pins[6 + k], halves[k], value);
      halves[k] = value;
    }
    return halves[n - 6];
  }
}

// The rows of an instruction's operands.
struct Operands {
  const Bits* rows;
  const int32_t* places;
  DL_INLINE Bits operator[](int64_t i) const { return rows[places[i]]; }
};

template <int n>
const int32_t* run_luts(const Network& network, const int32_t* code, Bits* rows) {
  const int32_t count = code[0], first = code[1];
  code += 2;
  for (int32_t i = 0; i < count; ++i, code += 1 + n) {
    Bits pins[n];
#pragma GCC unroll 16
    for (int j = 0; j < n; ++j) pins[j] = rows[code[1 + j]];
    if constexpr (n <= 3)
      rows[code[0]] = read_small_table<n>(pins, network.masks + first + (int64_t(i) << n));
    else
      rows[code[0]] = read_table<n>(pins, network.picks + first + (int64_t(i) << (n - 2)));
  }
  return code;
}

const int32_t* run_luts_of_any_size(const Network& network, int n, const int32_t* code, Bits* rows) {
  switch (n) {
    case 1: return run_luts<1>(network, code, rows);
    case 2: return run_luts<2>(network, code, rows);
    case 3: return run_luts<3>(network, code, rows);
    case 4: return run_luts<4>(network, code, rows);
    case 5: return run_luts<5>(network, code, rows);
    case 6: return run_luts<6>(network, code, rows);
    case 7: return run_luts<7>(network, code, rows);
    case 8: return run_luts<8>(network, code, rows);
    case 9: return run_luts<9>(network, code, rows);
    case 10: return run_luts<10>(network, code, rows);
    case 11: return run_luts<11>(network, code, rows);
    case 12: return run_luts<12>(network, code, rows);
    case 13: return run_luts<13>(network, code, rows);
    case 14: return run_luts<14>(network, code, rows);
    case 15: return run_luts<15>(network, code, rows);
    default: return run_luts<16>(network, code, rows);
  }
}

// Counts ones by carry-save adders: up to two bits of every weight wait until a third one comes.
class Counter {
  Bits waiting[MAX_WIDTH][2];
  int held[MAX_WIDTH] = {};

 public:
  DL_INLINE void add(Bits bit, int weight) {
    while (held[weight] == 2) {
      Bits* pair = waiting[weight];
      const Bits carry = majority(pair[0], pair[1], bit);
      pair[0] = parity(pair[0], pair[1], bit);
      held[weight++] = 1;
      bit = carry;
    }
    waiting[weight][held[weight]++] = bit;
  }

  // The lowest bit of the sum that was not taken yet, which has this weight.
  Bits take(int weight) {
    const Bits* pair = waiting[weight];
    if (held[weight] == 0) return Bits{};
    if (held[weight] == 1) return pair[0];
    add(pair[0] & pair[1], weight + 1);
    return pair[0] ^ pair[1];
  }
};

void run_count(const int32_t* results, int32_t width, Operands operands, int32_t count, Bits* rows) {
  Counter counter;
  for (int32_t i = 0; i < count; ++i) counter.add(operands[i], 0);
  for (int32_t i = 0; i < width; ++i) rows[results[i]] = counter.take(i);
}

void run_add(const int32_t* results, int32_t width, Operands operands, Bits* rows) {
  Bits carry = {};
  for (int32_t i = 0; i < width; ++i) {
    const Bits a = operands[i], b = operands[width + i];
    rows[results[i]] = parity(a, b, carry);
    carry = majority(a, b, carry);
  }
}

void run_greater(const int32_t* results, int32_t width, Operands operands, Bits* rows) {
  Bits greater = {};
  for (int32_t i = 0; i < width; ++i) greater = is_greater(operands[i], operands[width + i], greater);
  rows[results[0]] = greater;
}

void run_mux(const int32_t* results, int32_t width, Operands operands, Bits* rows) {
  for (int32_t i = 0; i < width; ++i)
    rows[results[i]] = choose(operands[2 * width], operands[i], operands[width + i]);
}

void run_argmax(const int32_t* results, int32_t index_width, Operands operands, int32_t words, int32_t width,
                Bits* rows) {
  Bits largest[MAX_WIDTH], index[MAX_WIDTH] = {};
  for (int32_t i = 0; i < width; ++i) largest[i] = operands[i];
  for (int32_t word = 1; word < words; ++word) {
    Bits greater = {};
    for (int32_t i = 0; i < width; ++i) greater = is_greater(largest[i], operands[word * width + i], greater);
    for (int32_t i = 0; i < width; ++i) largest[i] = choose(greater, largest[i], operands[word * width + i]);
    for (int32_t i = 0; i < index_width; ++i) index[i] = word >> i & 1 ? index[i] | greater : index[i] & ~greater;
  }
  for (int32_t i = 0; i < index_width; ++i) rows[results[i]] = index[i];
}

void run_code(const Network& network, Bits* rows) {
  const int32_t *code = network.code, *end = code + network.code_length;
  while (code < end) {
    if (code[0] == LUTS) {
      code = run_luts_of_any_size(network, code[1], code + 2, rows);
      continue;
    }
    // Of every other instruction: the numbers of results and operands, a number of its own, and the rows of both.
    const int32_t result_count = code[1], operand_count = code[2], number = code[3];
    const int32_t* results = code + 4;
    const Operands operands{rows, results + result_count};
    switch (code[0]) {
      case COUNT: run_count(results, result_count, operands, operand_count, rows); break;
      case ADD: run_add(results, result_count, operands, rows); break;
      case GREATER: run_greater(results, operand_count / 2, operands, rows); break;
      case MUX: run_mux(results, result_count, operands, rows); break;
      case ARGMAX: run_argmax(results, result_count, operands, number, operand_count / number, rows); break;
    }
    code += 4 + result_count + operand_count;
  }
}

// out (outputs, samples) gets the results of `count` samples, the first of which is `first`.
void write_outputs(const Network& network, const Bits* rows, int64_t* out, int64_t first, int64_t count,
                   int64_t samples) {
  int32_t bit = 0;
  for (int64_t o = 0; o < network.outputs; ++o) {
    int64_t values[SAMPLES] = {};
    for (int weight = 0; bit < network.output_ends[o]; ++bit, ++weight)
      for (int word = 0; word < WORDS; ++word) {
        const uint64_t packed = rows[network.output_rows[bit]][word];
        for (int s = 0; s < GROUP; ++s) values[word * GROUP + s] |= (packed >> s & 1) << weight;
      }
    memcpy(out + o * samples + first, values, count * sizeof(int64_t));
  }
}

template <class Number>
int run(const Network& network, const Number* features, int64_t samples, int64_t* out, int threads) {
  int not_numbers = 0;
#pragma omp parallel num_threads(threads > 0 ? threads : omp_get_max_threads()) reduction(| : not_numbers)
  {
    std::vector<Bits> rows(network.row_count);
    rows[1] = ~Bits{};
    std::vector<uint16_t> marks(network.chunk_count * CHUNK_MARKS);
    Batch<Number> batch(network.features);
    ReadAhead ahead(features);
#pragma omp for schedule(static)  // every thread reads on where it was
    for (int64_t first = 0; first < samples; first += SAMPLES) {
      const int64_t count = std::min<int64_t>(SAMPLES, samples - first);
      const Number* own = features + first * network.features;
      not_numbers |= read_features(network, own, count, batch, rows.data(), marks.data(), ahead);
      run_code(network, rows.data());
      write_outputs(network, rows.data(), out, first, count, samples);
    }
  }
  return not_numbers;
}

}  // namespace

// features (samples, network.features) to out (network.outputs, samples); as many threads as OpenMP likes where
// `threads` is 0. Returns 1 if a feature that the network reads is not a number, else 0.
extern "C" int dl_run_network_on_floats(const Network* network, const float* features, int64_t samples, int64_t* out,
                                        int threads) {
  return run(*network, features, samples, out, threads);
}

extern "C" int dl_run_network_on_bytes(const Network* network, const uint8_t* features, int64_t samples, int64_t* out,
                                       int threads) {
  return run(*network, features, samples, out, threads);
}
