// CPU kernels of the training rules, called through a plain C interface.
//
// Arrays are contiguous: features (inputs, batch), wiring (nodes, n), tables (nodes, outputs, 2**n), outputs and their
// gradients (nodes * outputs, batch). The batch is a multiple of 16. A result has the same bits for every number of
// threads: what is summed, and in which order, depends on the shapes alone.
#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <type_traits>
#include <vector>

#include "lanes.h"
#include "lookup.h"

namespace {

constexpr size_t ROUTED_SAMPLES = 128;  // samples whose pin gradients are kept at a time

// Rows lie anywhere, so that the processor does not guess which one is next: while a node is computed, those of a later
// one are fetched. In the middle of long rows the processor guesses well enough, where several are read and written.
constexpr size_t SHORT_ROW = 256;
constexpr int64_t AHEAD = 2;

constexpr size_t BLOCK = 1024;  // samples of which a row stays in the L1 cache

// A result of more bytes is not in the caches any more when it is read, and is written past them: otherwise its memory
// would be read before it is overwritten. A smaller one written so would come back from memory, not from a cache.
constexpr size_t LARGE_BYTES = 8 << 20;

constexpr int WALKED_PINS = 2;    // nodes of more pins share too little with the one before; they stay in their order
constexpr size_t MAX_WALKS = 256;  // kept, with 32 bytes per pin each

constexpr int MAX_MASKED_PINS = 3;  // up to so many, adding by masks is faster than entry by entry

// The node whose rows are fetched meanwhile.
int64_t later_node(int64_t node, int64_t nodes) { return std::min(nodes - 1, node + AHEAD); }

// Writes the rows of one result. Each thread has its own, because others see what went past the caches only after it ends.
class Writer {
  const bool past_caches;

 public:
  explicit Writer(size_t floats) : past_caches(floats * sizeof(float) > LARGE_BYTES) {}
  ~Writer() { finish_storing_past_caches(); }
  DL_INLINE void prefetch(float* to) const {
    if (!past_caches) __builtin_prefetch(to, 1);
  }
  DL_INLINE void write(float* to, Lanes value) const { past_caches ? store_past_caches(to, value) : store(to, value); }
};

// Calls f with n as a compile-time constant.
template <class F>
void with_pins(int n, F f) {
  switch (n) {
    case 1: return f(std::integral_constant<int, 1>{});
    case 2: return f(std::integral_constant<int, 2>{});
    case 3: return f(std::integral_constant<int, 3>{});
    case 4: return f(std::integral_constant<int, 4>{});
    case 5: return f(std::integral_constant<int, 5>{});
    case 6: return f(std::integral_constant<int, 6>{});
    case 7: return f(std::integral_constant<int, 7>{});
    case 8: return f(std::integral_constant<int, 8>{});
  }
}

template <int n>
void read_tables(const float* table, const uint8_t* bits, const int64_t* wiring, float* out, uint8_t* address,
                 int64_t nodes, int64_t outputs, size_t batch, int threads) {
#pragma omp parallel num_threads(threads)
  {
    const Writer writer(nodes * outputs * batch);
#pragma omp for schedule(static) nowait
    for (int64_t node = 0; node < nodes; ++node) {
      const uint8_t* pins[n];
      for (int j = 0; j < n; ++j) pins[j] = bits + wiring[node * n + j] * batch;
      uint8_t* addresses = address + node * batch;
#pragma GCC ivdep
      for (size_t s = 0; s < batch; ++s) {
        uint8_t a = 0;
#pragma GCC unroll 8
        for (int j = n - 1; j >= 0; --j) a = a + a + pins[j][s];
        addresses[s] = a;
      }
      for (int64_t o = node * outputs; o < (node + 1) * outputs; ++o) {
        const float* entries = table + (o << n);
        for (size_t s = 0; s < batch; s += LANES)
          writer.write(out + o * batch + s, look_up<1 << n>(entries, load_bytes(addresses + s)));
      }
    }
  }
}

// The same as `sum_row` for small tables: every entry has a sum per lane, of the samples whose address it has.
template <int n>
void sum_row_by_masks(const float* row, const uint8_t* addresses, float* out, size_t batch) {
  constexpr int size = 1 << n;
  Lanes sums[size] = {};
  for (size_t s = 0; s < batch; s += LANES) {
    const IntLanes own = load_bytes(addresses + s);
    const Lanes g = load(row + s);
#pragma GCC unroll 16
    for (int a = 0; a < size; ++a) sums[a] = add_where(equal_bits(own, a), sums[a], g);
  }
  store_some(out, size, sum_rows<size>(sums));
}

// out (2**n) = the sums of a row over the samples of each address.
template <int n>
void sum_row(const float* row, const uint8_t* addresses, float* out, size_t batch) {
  constexpr int size = 1 << n, copies = 4;  // consecutive samples add to different copies, and need not wait
  if constexpr (n <= MAX_MASKED_PINS) return sum_row_by_masks<n>(row, addresses, out, batch);
  float sums[copies][size] = {};
  for (size_t s = 0; s < batch; s += copies)
#pragma GCC unroll 4
    for (int i = 0; i < copies; ++i) sums[i][addresses[s + i]] += row[s + i];
  for (int a = 0; a < size; ++a) out[a] = (sums[0][a] + sums[1][a]) + (sums[2][a] + sums[3][a]);
}

template <int n>
void sum_entries(const float* grad, const uint8_t* address, float* out, int64_t nodes, int64_t outputs, size_t batch,
                 int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t o = 0; o < nodes * outputs; ++o) {
    const FlushTinyNumbers flush;
    sum_row<n>(grad + o * batch, address + o / outputs * batch, out + (o << n), batch);
  }
}

// The pins of a node at sixteen samples.
template <int n>
struct PinReader {
  const float* rows[n];
  PinReader(const float* features, const int64_t* wiring, int64_t node, size_t batch) {
    for (int j = 0; j < n; ++j) rows[j] = features + wiring[node * n + j] * batch;
  }
  DL_INLINE void read(size_t sample, Lanes* x) const {
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) x[j] = load(rows[j] + sample);
  }
  DL_INLINE void prefetch(size_t sample) const {
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) __builtin_prefetch(rows[j] + sample);
  }
};

// An order in which to go through a layer: from a node to one that shares an input with it, as long as there is one
// that has not been passed. With two pins per node and two readers per input, every other row is in the L1 cache already.
class Walk {
  std::vector<int64_t> wiring;  // a copy
  int n;
  int64_t input_count;

 public:
  std::vector<int64_t> nodes;         // in the order of the walk, then the last one AHEAD times more
  std::vector<uint8_t> is_first;      // whether pin j of nodes[i], at i * n + j, is the first one to read its input
  std::vector<int64_t> inputs;        // in the order in which the walk comes by; those that no pin reads at the end
  std::vector<int64_t> starts, pins;  // inputs[i] is read by pins[starts[i]] to pins[starts[i + 1] - 1], in order

  Walk(const int64_t* from, int64_t count, int n, int64_t input_count)
      : wiring(from, from + count * n), n(n), input_count(input_count), starts(1), pins(count * n + AHEAD) {
    std::vector<int64_t> first(input_count + 2), readers(count * n);  // of each input
    for (const int64_t input : wiring) ++first[input + 2];
    for (int64_t i = 0; i < input_count; ++i) first[i + 2] += first[i + 1];
    for (int64_t pin = 0; pin < count * n; ++pin) readers[first[wiring[pin] + 1]++] = pin;
    std::vector<int64_t> next(first.begin(), first.end() - 2);  // of the readers of each input, the next to look at
    std::vector<uint8_t> is_passed(count), is_reached(input_count);
    nodes.reserve(count + AHEAD);
    is_first.reserve(count * n);
    for (int64_t start = 0; start < count; ++start)
      for (int64_t node = start; node >= 0 && !is_passed[node];) {
        is_passed[node] = true;
        nodes.push_back(node);
        int64_t later = -1;
        for (int j = 0; j < n; ++j) {
          const int64_t input = wiring[node * n + j];
          is_first.push_back(!is_reached[input]);
          if (!is_reached[input]) inputs.push_back(input);
          is_reached[input] = true;
          for (int64_t& i = next[input]; n <= WALKED_PINS && later < 0 && i < first[input + 1]; ++i)
            if (!is_passed[readers[i] / n]) later = readers[i] / n;
        }
        node = later;
      }
    for (int64_t input = 0; input < input_count; ++input)
      if (!is_reached[input]) inputs.push_back(input);
    int64_t* pin = pins.data();
    for (const int64_t input : inputs) {
      pin = std::copy(readers.begin() + first[input], readers.begin() + first[input + 1], pin);
      starts.push_back(pin - pins.data());
    }
    nodes.insert(nodes.end(), AHEAD, count ? nodes.back() : 0);
  }

  bool is_of(const int64_t* other, int64_t count, int pins_per_node, int64_t inputs) const {
    return n == pins_per_node && int64_t(wiring.size()) == count * n && input_count == inputs &&
           std::equal(wiring.begin(), wiring.end(), other);
  }
};

// Walks by the hash of what they go along: a wiring may lie elsewhere in every step.
std::mutex walks_mutex;
std::map<uint64_t, std::shared_ptr<const Walk>> known_walks;

// Of two layers whose wirings are the same numbers, with more pins to a node or of more inputs, each has its own.
uint64_t hash_wiring(const int64_t* wiring, int64_t nodes, int n, int64_t inputs) {
  const int64_t count = nodes * n;
  uint64_t sum = (uint64_t(n) << 48) ^ (uint64_t(inputs) * 0xc2b2ae3d27d4eb4f);
  for (int64_t i = 0; i < count; ++i) sum += uint64_t(wiring[i] + 1) * (uint64_t(2 * i + 1) * 0x9e3779b97f4a7c15);
  return sum;
}

// The walk over a wiring: the one from the last time, if there was one.
std::shared_ptr<const Walk> find_walk(const int64_t* wiring, int64_t nodes, int n, int64_t inputs) {
  const uint64_t hash = hash_wiring(wiring, nodes, n, inputs);
  const std::lock_guard<std::mutex> lock(walks_mutex);
  std::shared_ptr<const Walk>& walk = known_walks[hash];
  if (!walk || !walk->is_of(wiring, nodes, n, inputs)) {
    if (known_walks.size() > MAX_WALKS) known_walks.clear();
    return known_walks[hash] = std::make_shared<Walk>(wiring, nodes, n, inputs);
  }
  return walk;
}

void forget_walk(const int64_t* wiring, int64_t nodes, int n, int64_t inputs) {
  const uint64_t hash = hash_wiring(wiring, nodes, n, inputs);
  const std::lock_guard<std::mutex> lock(walks_mutex);
  known_walks.erase(hash);
}

// Tables, side by side in a chunk, become coefficients of polynomials that are linear in each of the first pins.
template <int pins, int count>
DL_INLINE void find_coefficients(Lanes* chunk) {
#pragma GCC unroll 4
  for (int stride = 1; stride < 1 << pins && stride < LANES; stride *= 2)
#pragma GCC unroll 16
    for (int i = 0; i < count; ++i) {
      const Lanes below = __builtin_shuffle(chunk[i], lane_numbers() & ~stride);
      chunk[i] -= (lane_numbers() & stride) != 0 ? below : Lanes{};
    }
#pragma GCC unroll 4
  for (int stride = 1; stride < 1 << pins >> 4; stride *= 2)
#pragma GCC unroll 16
    for (int i = 0; i < count; ++i)
      if (i & stride) chunk[i] -= chunk[i & ~stride];
}

template <int n>
void expect(const float* table, const float* features, const int64_t* wiring, float* out, int64_t inputs, int64_t nodes,
            int64_t outputs, size_t batch, int threads) {
  using H = Halves<n>;
  const auto walk = find_walk(wiring, nodes, n, inputs);
#pragma omp parallel num_threads(threads)
  {
    const FlushTinyNumbers flush;
    const Writer writer(nodes * outputs * batch);
#pragma omp for schedule(static) nowait
    for (int64_t i = 0; i < nodes; ++i) {
      const int64_t node = walk->nodes[i], next = walk->nodes[i + AHEAD];
      const PinReader<n> pins(features, wiring, node, batch), later(features, wiring, next, batch);
      for (int64_t o = 0; o < outputs; ++o) {
        Lanes chunk[std::max(1, (1 << n) / LANES)] = {};
        memcpy(chunk, table + ((node * outputs + o) << n), sizeof(float) << n);
        find_coefficients<H::low_pins, sizeof chunk / sizeof(Lanes)>(chunk);
        const float* own = (const float*)chunk;
        float *row = out + (node * outputs + o) * batch, *later_row = out + (next * outputs + o) * batch;
        for (size_t s = 0; s < batch; s += LANES) {
          later.prefetch(s);
          writer.prefetch(later_row + s);
          Lanes x[n], rows[H::rows];
          pins.read(s, x);
#pragma GCC unroll 16
          for (int r = 0; r < H::rows; ++r) rows[r] = evaluate_polynomial<H::low_pins>(own + r * H::columns, 1, x);
          writer.write(row + s, interpolate<H::high_pins>(rows, x + H::low_pins));
        }
      }
    }
  }
}

// out (2**n) = the table gradient of one output, whose gradient is a row.
template <int n>
void weigh_row(const float* row, const PinReader<n>& pins, float* out, size_t batch) {
  using H = Halves<n>;
  constexpr size_t vectors = 8;                                // weighed at a time
  constexpr int tile = std::max(1, 16 / H::columns) < H::rows ? std::max(1, 16 / H::columns) : H::rows;
  constexpr int entries = H::rows * H::columns, together = std::min(entries, LANES);
  Lanes sums[entries] = {}, low[vectors][H::columns], high[vectors][H::rows];
  for (size_t s = 0; s < batch; s += vectors * LANES) {
    const int count = std::min(vectors, (batch - s) / LANES);
    for (int v = 0; v < count; ++v) {
      const size_t sample = s + v * LANES;
      const Lanes g = load(row + sample);
      Lanes x[n];
      pins.read(sample, x);
      corner_weights<H::low_pins>(x, low[v]);
      corner_weights<H::high_pins>(x + H::low_pins, high[v]);
#pragma GCC unroll 16
      for (int r = 0; r < H::rows; ++r) high[v][r] *= g;
    }
    for (int first = 0; first < H::rows; first += tile) {
      Lanes part[tile][H::columns];
      memcpy(part, sums + first * H::columns, sizeof part);
      for (int v = 0; v < count; ++v)
#pragma GCC unroll 16
        for (int r = 0; r < tile; ++r)
#pragma GCC unroll 16
          for (int c = 0; c < H::columns; ++c) part[r][c] += high[v][first + r] * low[v][c];
      memcpy(sums + first * H::columns, part, sizeof part);
    }
  }
  for (int a = 0; a < entries; a += together) store_some(out + a, together, sum_rows<together>(sums + a));
}

template <int n>
void expect_table_gradient(const float* grad, const float* features, const int64_t* wiring, float* out, int64_t nodes,
                           int64_t outputs, size_t batch, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t o = 0; o < nodes * outputs; ++o) {
    const FlushTinyNumbers flush;
    const PinReader<n> pins(features, wiring, o / outputs, batch);
    const PinReader<n> later(features, wiring, later_node(o, nodes * outputs) / outputs, batch);
    for (size_t s = 0; s < batch; s += LANES) later.prefetch(s);
    weigh_row<n>(grad + o * batch, pins, out + (o << n), batch);
  }
}

// What follows needs the gradient of every pin, which no array holds: a rule computes it where it is used, for a node
// at sixteen samples. If that of a single pin costs no more than its share, a rule also has `Pin`.

// The rule whose pin gradients are given, (nodes * n, batch).
template <int n>
struct GivenGradient {
  const float* pin_grad;
  size_t batch;

  struct Node {
    const float* rows;
    size_t batch;
    DL_INLINE void at(size_t sample, Lanes* result) const {
#pragma GCC unroll 8
      for (int j = 0; j < n; ++j) result[j] = load(rows + j * batch + sample);
    }
    DL_INLINE void prefetch(size_t sample) const {}  // the rows of all nodes follow each other
  };
  Node node(int64_t index) const { return {pin_grad + index * n * batch, batch}; }

  static constexpr bool has_pins = true;
  struct Pin {
    const float* row;
    DL_INLINE Lanes at(size_t sample) const { return load(row + sample); }
    DL_INLINE void prefetch(size_t sample) const { __builtin_prefetch(row + sample); }
  };
  Pin pin(int64_t index, int j) const { return {pin_grad + (index * n + j) * batch}; }

  void sum_tables(int64_t index, float* out) const {}  // there are none
};

// The rule of hard look-ups: differences (nodes, outputs, n, 2**(n - 1)) hold the gradient of pin j of each output at
// every address, from which bit j is left out.
template <int n>
struct DifferenceGradient {
  const float* grad;
  const float* differences;
  const uint8_t* address;
  int64_t outputs;
  size_t batch;

  struct Node {
    const float* grad;
    const float* differences;
    const uint8_t* address;
    int64_t outputs;
    size_t batch;
    DL_INLINE void prefetch(size_t sample) const {
      __builtin_prefetch(grad + sample);
      if (sample % (4 * LANES) == 0) __builtin_prefetch(address + sample);
    }
    DL_INLINE void at(size_t sample, Lanes* result) const {
      constexpr int half = 1 << (n - 1);
      const IntLanes full = load_bytes(address + sample);
      for (int64_t o = 0; o < outputs; ++o) {
        const Lanes g = load(grad + o * batch + sample);
#pragma GCC unroll 8
        for (int j = 0; j < n; ++j) {
          const int below = (1 << j) - 1;
          const IntLanes others = (full & below) | ((full >> 1) & ~below);
          const Lanes term = g * look_up<half>(differences + (o * n + j) * half, others);
          result[j] = o == 0 ? term : result[j] + term;
        }
      }
    }
  };
  Node node(int64_t index) const {
    return {grad + index * outputs * batch, differences + index * outputs * n * (1 << (n - 1)),
            address + index * batch, outputs, batch};
  }

  static constexpr bool has_pins = true;
  struct Pin {
    Node node;
    int j;
    DL_INLINE void prefetch(size_t sample) const {
      __builtin_prefetch(node.grad + sample);
      if (sample % (4 * LANES) == 0) __builtin_prefetch(node.address + sample);
    }
    DL_INLINE Lanes at(size_t sample) const {
      constexpr int half = 1 << (n - 1);
      const int below = (1 << j) - 1;
      const IntLanes full = load_bytes(node.address + sample), others = (full & below) | ((full >> 1) & ~below);
      Lanes result = {};
      for (int64_t o = 0; o < node.outputs; ++o) {
        const Lanes g = load(node.grad + o * node.batch + sample);
        const Lanes term = g * look_up<half>(node.differences + (o * n + j) * half, others);
        result = o == 0 ? term : result + term;
      }
      return result;
    }
  };
  Pin pin(int64_t index, int j) const { return {node(index), j}; }

  // The table gradients of all outputs of a node.
  void sum_tables(int64_t index, float* out) const {
    for (int64_t o = index * outputs; o < (index + 1) * outputs; ++o)
      sum_row<n>(grad + o * batch, address + index * batch, out + (o << n), batch);
  }
};

// The rule of the multilinear extension, from the coefficients (nodes, outputs, 2**n) of its polynomials: in that form
// a derivative takes a third fewer operations than from the tables.
template <int n>
struct ExpectedGradient {
  const float* grad;
  const float* coefficients;
  const float* features;
  const int64_t* wiring;
  int64_t outputs;
  size_t batch;

  struct Node {
    PinReader<n> pins;
    const float* grad;
    const float* coefficients;
    int64_t outputs;
    size_t batch;
    DL_INLINE void prefetch(size_t sample) const {
      pins.prefetch(sample);
      __builtin_prefetch(grad + sample);
    }
    DL_INLINE void at(size_t sample, Lanes* result) const {
      using H = Halves<n>;
      Lanes x[n];
      pins.read(sample, x);
      const Lanes* high = x + H::low_pins;
      for (int64_t o = 0; o < outputs; ++o) {
        const float* own = coefficients + (o << n);
        const Lanes g = load(grad + o * batch + sample);
        Lanes slopes[n], by_column[H::columns], by_row[H::rows];
#pragma GCC unroll 16
        for (int c = 0; c < H::columns; ++c)
          by_column[c] = evaluate_polynomial<H::high_pins>(own + c, H::columns, high);
        derivatives<H::low_pins>(by_column, x, slopes);
#pragma GCC unroll 16
        for (int r = 0; r < H::rows; ++r)
          by_row[r] = evaluate_polynomial<H::low_pins>(own + r * H::columns, 1, x);
        derivatives<H::high_pins>(by_row, high, slopes + H::low_pins);
#pragma GCC unroll 8
        for (int j = 0; j < n; ++j) result[j] = o == 0 ? g * slopes[j] : result[j] + g * slopes[j];
      }
    }
  };
  Node node(int64_t index) const {
    return {PinReader<n>(features, wiring, index, batch), grad + index * outputs * batch,
            coefficients + (index * outputs << n), outputs, batch};
  }

  static constexpr bool has_pins = n <= 2;
  struct Pin {
    const float* other;  // the row that the other pin reads
    const float* grad;
    const float* coefficients;
    int64_t outputs;
    size_t batch;
    int j;
    DL_INLINE void prefetch(size_t sample) const {
      if (n == 2) __builtin_prefetch(other + sample);
      __builtin_prefetch(grad + sample);
    }
    DL_INLINE Lanes at(size_t sample) const {
      Lanes result = {};
      for (int64_t o = 0; o < outputs; ++o) {
        const float* own = coefficients + (o << n);
        Lanes slope = Lanes{} + own[1 << j];
        if (n == 2) slope += load(other + sample) * own[3];
        const Lanes term = load(grad + o * batch + sample) * slope;
        result = o == 0 ? term : result + term;
      }
      return result;
    }
  };
  Pin pin(int64_t index, int j) const {
    return {features + wiring[index * n + n - 1 - j] * batch, grad + index * outputs * batch,
            coefficients + (index * outputs << n), outputs, batch, j};
  }

  // The table gradients of all outputs of a node.
  void sum_tables(int64_t index, float* out) const {
    const PinReader<n> pins(features, wiring, index, batch);
    for (int64_t o = index * outputs; o < (index + 1) * outputs; ++o)
      weigh_row<n>(grad + o * batch, pins, out + (o << n), batch);
  }
};

template <class Rule>
void sum_all_tables(const Rule& rule, float* table_grad, int64_t nodes, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t index = 0; index < nodes; ++index) {
    const FlushTinyNumbers flush;
    rule.sum_tables(index, table_grad);
  }
}

// What follows, in two ways: out (inputs, batch) = the sum of the gradients of the pins that read each input. Unless
// `table_grad` is null, it becomes the gradient of the tables, if possible while the rows of both are in the caches.

// `vectors` times sixteen samples of a row, from sample s on: the sum over some pins.
template <int n, int vectors, class Rule>
DL_INLINE void gather(const Rule& rule, const int64_t* pins, int64_t count, size_t s, float* to, const Writer& writer) {
  Lanes sums[vectors] = {};
  for (int64_t i = 0; i < count; ++i) {
    const auto pin = rule.pin(pins[i] / n, pins[i] % n);
    const auto later = rule.pin(pins[i + AHEAD] / n, pins[i + AHEAD] % n);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) later.prefetch(s + v * LANES);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[v] += pin.at(s + v * LANES);
  }
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) writer.write(to + v * LANES, sums[v]);
}

// Every input on its own: each row of the result is written once.
template <int n, class Rule>
void gather_by_feature(const Rule& rule, const int64_t* wiring, float* out, float* table_grad, int64_t inputs,
                       int64_t nodes, size_t batch, int threads) {
  const auto walk = find_walk(wiring, nodes, n, inputs);
  const bool tables_meanwhile = table_grad && batch <= BLOCK;
#pragma omp parallel num_threads(threads)
  {
    const FlushTinyNumbers flush;
    const Writer writer(inputs * batch);
#pragma omp for schedule(static) nowait  // a dynamic one would wait for the writer at every step
    for (int64_t i = 0; i < inputs; ++i) {
      const int64_t *pins = walk->pins.data() + walk->starts[i], count = walk->starts[i + 1] - walk->starts[i];
      float* row = out + walk->inputs[i] * batch;
      size_t s = 0;
      for (; s + 8 * LANES <= batch; s += 8 * LANES) gather<n, 8>(rule, pins, count, s, row + s, writer);
      for (; s < batch; s += LANES) gather<n, 1>(rule, pins, count, s, row + s, writer);
      if (tables_meanwhile)
        for (int64_t k = 0; k < count; ++k)
          if (pins[k] % n == 0) rule.sum_tables(pins[k] / n, table_grad);
    }
  }
  if (table_grad && !tables_meanwhile) sum_all_tables(rule, table_grad, nodes, threads);
}

// Every node on its own: it adds to the rows of its pins. Every thread has samples of its own. Whole rows are faster
// than blocks of them that fit the L2 cache, at any batch.
template <int n, class Rule>
void scatter_by_feature(const Rule& rule, const int64_t* wiring, float* out, float* table_grad, int64_t inputs,
                        int64_t nodes, size_t batch, int threads) {
  const size_t width = (batch / LANES + threads - 1) / threads * LANES;
  const bool tables_meanwhile = table_grad && threads == 1 && batch <= BLOCK;
  const std::vector<float> zeros(batch);
  const auto walk = find_walk(wiring, nodes, n, inputs);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int thread = 0; thread < threads; ++thread) {
    const FlushTinyNumbers flush;
    const size_t first = std::min(batch, thread * width), end = std::min(batch, first + width);
    for (int64_t i = 0; i < inputs; ++i)
      if (walk->starts[i] == walk->starts[i + 1])
        memset(out + walk->inputs[i] * batch + first, 0, (end - first) * sizeof(float));
    for (int64_t i = 0; i < nodes; ++i) {
      const int64_t index = walk->nodes[i], next = walk->nodes[i + AHEAD];
      const auto node = rule.node(index), later = rule.node(next);
      float *rows[n], *later_rows[n];
      const float* sums[n];  // so far
      for (int j = 0; j < n; ++j) rows[j] = out + wiring[index * n + j] * batch;
      for (int j = 0; j < n; ++j) sums[j] = walk->is_first[i * n + j] ? zeros.data() : rows[j];
      for (int j = 0; j < n; ++j) later_rows[j] = out + wiring[next * n + j] * batch;
      for (size_t s = first; s < end; s += LANES) {
        if (batch <= SHORT_ROW) {
          later.prefetch(s);
#pragma GCC unroll 8
          for (int j = 0; j < n; ++j) __builtin_prefetch(later_rows[j] + s, 1);
        }
        Lanes result[n];
        node.at(s, result);
#pragma GCC unroll 8
        for (int j = 0; j < n; ++j) store(rows[j] + s, load(sums[j] + s) + result[j]);
      }
      if (tables_meanwhile) rule.sum_tables(index, table_grad);
    }
  }
  if (table_grad && !tables_meanwhile) sum_all_tables(rule, table_grad, nodes, threads);
}

// The features as bits, sixteen samples to a word, if all of them are 0 or 1; empty if not.
std::vector<uint16_t> pack_bits(const float* features, size_t count, int threads) {
  std::vector<uint16_t> words(count / LANES);
  int fractions = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(| : fractions)
  for (size_t i = 0; i < words.size(); ++i) {
    const Lanes x = load(features + i * LANES);
    words[i] = nonzero_bits(x);
    fractions |= nonzero_bits(x - x * x);
  }
  if (fractions) words.clear();
  return words;
}

// The sum over some samples of a pin's gradient times a feature, by lane, for features as numbers and as bits.
DL_INLINE Lanes multiply(const float* pin_grad, const float* feature, size_t samples) {
  Lanes sum = {};
  for (size_t s = 0; s < samples; s += LANES) sum += load(pin_grad + s) * load(feature + s);
  return sum;
}

DL_INLINE Lanes multiply(const float* pin_grad, const uint16_t* feature, size_t samples) {
  Lanes sum = {};
  for (size_t s = 0; s < samples; s += LANES) sum = add_where(feature[s / LANES], sum, load(pin_grad + s));
  return sum;
}

// gains (nodes * n, choices) = the sum over the batch of pin gradient times candidate feature. A feature holds
// `samples_per_item` samples in one item.
template <int n, class Rule, class Item>
void correlate(const Rule& rule, const Item* features, const int64_t* candidates, float* gains, int64_t choices,
               int64_t nodes, size_t batch, int threads) {
  constexpr size_t samples_per_item = std::is_same_v<Item, float> ? 1 : LANES;
  memset(gains, 0, nodes * n * choices * sizeof(float));
#pragma omp parallel num_threads(threads)
  for (size_t first = 0; first < batch; first += ROUTED_SAMPLES) {
    const size_t samples = std::min(ROUTED_SAMPLES, batch - first);
#pragma omp for schedule(static) nowait
    for (int64_t index = 0; index < nodes; ++index) {
      const FlushTinyNumbers flush;
      const auto node = rule.node(index);
      alignas(64) float pin_grad[n][ROUTED_SAMPLES];
      for (size_t s = 0; s < samples; s += LANES) {
        Lanes result[n];
        node.at(first + s, result);
#pragma GCC unroll 8
        for (int j = 0; j < n; ++j) store(pin_grad[j] + s, result[j]);
      }
      for (int j = 0; j < n; ++j)
        for (int64_t k = 0; k < choices; k += LANES) {
          const int64_t row = (index * n + j) * choices + k;
          const int count = std::min<int64_t>(LANES, choices - k);
          Lanes sums[LANES];
          for (int i = 0; i < count; ++i) {
            const Item* feature = features + (candidates[row + i] * batch + first) / samples_per_item;
            // The usual number of samples is known to the compiler, which then needs no loop.
            sums[i] = samples == ROUTED_SAMPLES ? multiply(pin_grad[j], feature, ROUTED_SAMPLES)
                                                : multiply(pin_grad[j], feature, samples);
          }
          for (int i = count; i < LANES; ++i) sums[i] = Lanes{};
          store_some(gains + row, count, load_some(gains + row, count, Lanes{}) + sum_rows(sums));
        }
    }
  }
}

// out (pins, choices) = the gradient of sum_k softmax(logits / tau)_k * gains_k in the logits.
void differentiate_choice(const float* gains, const float* logits, float* out, int64_t pins, int64_t choices,
                          float tau, int threads) {
  const float sharpness = 1 / tau;
  const Lanes nothing = Lanes{} - std::numeric_limits<float>::infinity();
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t pin = 0; pin < pins; ++pin) {
    const float *row = logits + pin * choices, *gain = gains + pin * choices;
    float* result = out + pin * choices;
    Lanes largest = nothing;
    for (int64_t k = 0; k < choices; k += LANES) {
      const Lanes logit = load_some(row + k, choices - k, nothing);
      largest = logit > largest ? logit : largest;
    }
    largest = max_lanes(largest);
    Lanes total = {}, mean = {};
    for (int64_t k = 0; k < choices; k += LANES) {
      const Lanes logit = load_some(row + k, choices - k, nothing);
      const Lanes weight = logit == nothing ? Lanes{} : exp_of_negative((logit - largest) * sharpness);
      total += weight;
      mean += weight * load_some(gain + k, choices - k, Lanes{});
      store_some(result + k, choices - k, weight);
    }
    const Lanes share = 1.0f / sum_lanes(total);
    mean = sum_lanes(mean) * share;
    for (int64_t k = 0; k < choices; k += LANES) {
      const Lanes weight = load_some(result + k, choices - k, Lanes{}) * (share * sharpness);
      store_some(result + k, choices - k, weight * (load_some(gain + k, choices - k, Lanes{}) - mean));
    }
  }
}

// The largest of each row of logits, the first of equals; a NaN counts as infinite.
void choose(const float* logits, const int64_t* candidates, int64_t* chosen, int64_t pins, int64_t choices,
            int threads) {
  const Lanes infinite = Lanes{} + std::numeric_limits<float>::infinity();
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t pin = 0; pin < pins; ++pin) {
    Lanes best = -infinite;
    IntLanes place = lane_numbers();
    for (int64_t k = 0; k < choices; k += LANES) {
      Lanes value = load_some(logits + pin * choices + k, choices - k, -infinite);
      value = value == value ? value : infinite;
      const IntLanes better = value > best;
      best = better ? value : best;
      place = better ? lane_numbers() + int(k) : place;
    }
#pragma GCC unroll 4
    for (int half = LANES / 2; half > 0; half /= 2) {
      const Lanes other = __builtin_shuffle(best, lane_numbers() ^ half);
      const IntLanes other_place = __builtin_shuffle(place, lane_numbers() ^ half);
      const IntLanes better = (other > best) | ((other == best) & (other_place < place));
      best = better ? other : best;
      place = better ? other_place : place;
    }
    chosen[pin] = candidates[pin * choices + place[0]];
  }
}

// One stage of a Walsh transform within each group of `size` floats.
template <int size>
DL_INLINE void walsh_transform(Lanes* chunk) {
  const IntLanes lane = lane_numbers();
  constexpr int count = size < LANES ? 1 : size / LANES;
#pragma GCC unroll 4
  for (int stride = 1; stride < size && stride < LANES; stride *= 2) {
    const Lanes sign = __builtin_convertvector(1 - 2 * ((lane & stride) / stride), Lanes);
#pragma GCC unroll 16
    for (int i = 0; i < count; ++i) chunk[i] = sign * chunk[i] + __builtin_shuffle(chunk[i], lane ^ stride);
  }
#pragma GCC unroll 4
  for (int stride = 1; stride < count; stride *= 2)
#pragma GCC unroll 16
    for (int i = 0; i < count; ++i)
      if (!(i & stride)) {
        const Lanes low = chunk[i], high = chunk[i | stride];
        chunk[i] = low + high;
        chunk[i | stride] = low - high;
      }
}

// coefficients (tables, 2**n) of the polynomials that are linear in each pin and take the tables' values at the corners.
template <int n>
void find_coefficients(const float* table, float* coefficients, int64_t tables, int threads) {
  constexpr int size = 1 << n, floats = std::max(size, LANES), together = floats / size;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t first = 0; first < tables; first += together) {
    const size_t bytes = std::min<int64_t>(together, tables - first) * size * sizeof(float);
    Lanes chunk[floats / LANES] = {};
    memcpy(chunk, table + first * size, bytes);
    find_coefficients<n, floats / LANES>(chunk);
    memcpy(coefficients + first * size, chunk, bytes);
  }
}

// Entries 16 * i to 16 * i + 15 of the differences of a table across address bit j, with that bit left out.
DL_INLINE Lanes difference_across(const Lanes* table, int i, int j) {
  if (j >= 4) {  // the bit counts chunks
    const int bit = 1 << (j - 4), low = (i & ~(bit - 1)) * 2 | (i & (bit - 1));
    return table[low | bit] - table[low];
  }
  const IntLanes lane = lane_numbers(), low = (lane >> j << (j + 1)) | (lane & ((1 << j) - 1));
  const Lanes first = table[2 * i], second = table[2 * i + 1];
  return __builtin_shuffle(first, second, low | 1 << j) - __builtin_shuffle(first, second, low);
}

// differences (tables, n, 2**(n - 1)): across each address bit, of the tables after their entries have been spread
// over all addresses by a convolution over XOR, which multiplies the Walsh transform by `diagonal` (2**n).
template <int n>
void spread(const float* table, const float* diagonal, float* differences, int64_t tables, int threads) {
  constexpr int size = 1 << n, half = size / 2, floats = std::max(size, LANES), together = floats / size;
  Lanes factors[floats / LANES];
  for (int i = 0; i < together; ++i) memcpy((float*)factors + i * size, diagonal, size * sizeof(float));
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t first = 0; first < tables; first += together) {
    const int count = std::min<int64_t>(together, tables - first);
    Lanes chunk[floats / LANES] = {};
    memcpy(chunk, table + first * size, count * size * sizeof(float));
    walsh_transform<size>(chunk);
#pragma GCC unroll 16
    for (int i = 0; i < floats / LANES; ++i) chunk[i] *= factors[i];
    walsh_transform<size>(chunk);
    if constexpr (half >= LANES) {
#pragma GCC unroll 8
      for (int j = 0; j < n; ++j)
#pragma GCC unroll 8
        for (int i = 0; i < half / LANES; ++i)
          store(differences + (first * n + j) * half + i * LANES, difference_across(chunk, i, j));
    } else {
      float entries[floats];
      memcpy(entries, chunk, sizeof entries);
      for (int t = 0; t < count; ++t)
        for (int j = 0; j < n; ++j)
          for (int k = 0; k < half; ++k) {
            const int low = t * size + (k >> j << (j + 1) | (k & ((1 << j) - 1)));
            differences[((first + t) * n + j) * half + k] = entries[low | 1 << j] - entries[low];
          }
    }
  }
}

// Calls take(column, row, values) with sixteen values of each column of a matrix (rows, columns), whose rows are
// `stride` apart, from every sixteenth row on; below the last row they are 0. Every thread has columns of its own.
template <class F>
void take_columns(const float* from, int64_t stride, int64_t rows, int64_t columns, F take) {
  constexpr int64_t together = 4 * LANES;  // fewer pages are written at a time than are known by address
#pragma omp for schedule(static) nowait
  for (int64_t start = 0; start < columns; start += together)
    for (int64_t row = 0; row < rows; row += LANES)
      for (int64_t column = start; column < std::min(columns, start + together); column += LANES) {
        const int height = std::min<int64_t>(LANES, rows - row), width = std::min<int64_t>(LANES, columns - column);
        Lanes square[LANES];
        for (int i = 0; i < LANES; ++i)
          square[i] = i < height ? load_some(from + (row + i) * stride + column, width, Lanes{}) : Lanes{};
        transpose_square(square);
        for (int i = 0; i < width; ++i) take(column + i, row, square[i]);
      }
}

// to (columns, rows) = the transpose of from (rows, columns), whose rows are `stride` apart.
void transpose(const float* from, int64_t stride, float* to, int64_t rows, int64_t columns, int threads) {
#pragma omp parallel num_threads(threads)
  {
    const Writer writer(rows % LANES ? 0 : rows * columns);
    take_columns(from, stride, rows, columns, [&](int64_t column, int64_t row, Lanes values) {
      float* place = to + column * rows + row;
      rows - row < LANES ? store_some(place, rows - row, values) : writer.write(place, values);
    });
  }
}

// table = 1 / (1 + exp(-logits)).
void squash(const float* logits, float* table, int64_t count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < count; i += LANES) {
    const Lanes logit = load_some(logits + i, count - i, Lanes{});
    const Lanes part = exp_of_negative(logit < 0.0f ? logit : -logit);
    store_some(table + i, count - i, (logit < 0.0f ? part : Lanes{} + 1.0f) / (1.0f + part));
  }
}

// grad, of the entries of a table, becomes that of their logits.
void differentiate_squash(float* grad, const float* table, int64_t count, int threads) {
#pragma omp parallel num_threads(threads)
  {
    const FlushTinyNumbers flush;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < count; ++i) grad[i] *= table[i] * (1.0f - table[i]);
  }
}

// out (rows * times, batch) = every row, that many times.
void repeat_rows(const float* from, float* out, int64_t rows, int64_t times, size_t batch, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t row = 0; row < rows * times; ++row)
    memcpy(out + row * batch, from + row / times * batch, batch * sizeof(float));
}

// The kinds of rules, as difflut/kernels/cpu.py numbers them, and what they compute pin gradients from.
enum { GIVEN, DIFFERENCES, EXPECTED };

struct RuleArguments {
  const float* grad;       // of the outputs; of the pins, where they are given
  const float* table;      // the differences of hard look-ups, or the coefficients of multilinear extensions
  const uint8_t* address;  // of hard look-ups
  const float* features;
  const int64_t* wiring;
  int64_t nodes, outputs, batch;
};

// Calls f with n as a compile-time constant and the rule.
template <class F>
void with_rule(int kind, int n, const RuleArguments& a, F f) {
  with_pins(n, [&](auto pins) {
    if (kind == GIVEN) return f(pins, GivenGradient<pins>{a.grad, size_t(a.batch)});
    if (kind == DIFFERENCES)
      return f(pins, DifferenceGradient<pins>{a.grad, a.table, a.address, a.outputs, size_t(a.batch)});
    f(pins, ExpectedGradient<pins>{a.grad, a.table, a.features, a.wiring, a.outputs, size_t(a.batch)});
  });
}

}  // namespace

#define DL_EXPORT extern "C" void

DL_EXPORT dl_threshold(const float* features, uint8_t* bits, int64_t count, int threads) {
#pragma omp parallel for simd num_threads(threads) schedule(static)
  for (int64_t i = 0; i < count; ++i) bits[i] = features[i] >= 0.5f;
}

// bits (columns, rows up to a multiple of 16) = those of the transpose of from (rows, columns).
DL_EXPORT dl_threshold_transposed(const float* from, int64_t stride, uint8_t* bits, int64_t rows, int64_t columns,
                                  int threads) {
  const int64_t padded = (rows + LANES - 1) / LANES * LANES;
#pragma omp parallel num_threads(threads)
  take_columns(from, stride, rows, columns, [&](int64_t column, int64_t row, Lanes values) {
    store_at_least_bytes(bits + column * padded + row, values, 0.5f);
  });
}

DL_EXPORT dl_read_tables(int n, const float* table, const uint8_t* bits, const int64_t* wiring, float* out,
                         uint8_t* address, int64_t nodes, int64_t outputs, int64_t batch, int threads) {
  with_pins(n, [=](auto pins) {
    read_tables<pins>(table, bits, wiring, out, address, nodes, outputs, batch, threads);
  });
}

DL_EXPORT dl_sum_entries(int n, const float* grad, const uint8_t* address, float* out, int64_t nodes, int64_t outputs,
                         int64_t batch, int threads) {
  with_pins(n, [=](auto pins) { sum_entries<pins>(grad, address, out, nodes, outputs, batch, threads); });
}

DL_EXPORT dl_expect(int n, const float* table, const float* features, const int64_t* wiring, float* out, int64_t inputs,
                    int64_t nodes, int64_t outputs, int64_t batch, int threads) {
  with_pins(n, [=](auto pins) { expect<pins>(table, features, wiring, out, inputs, nodes, outputs, batch, threads); });
}

DL_EXPORT dl_expect_table_gradient(int n, const float* grad, const float* features, const int64_t* wiring, float* out,
                                   int64_t nodes, int64_t outputs, int64_t batch, int threads) {
  with_pins(n, [=](auto pins) {
    expect_table_gradient<pins>(grad, features, wiring, out, nodes, outputs, batch, threads);
  });
}

DL_EXPORT dl_spread(int n, const float* table, const float* diagonal, float* differences, int64_t tables, int threads) {
  with_pins(n, [=](auto pins) { spread<pins>(table, diagonal, differences, tables, threads); });
}

DL_EXPORT dl_find_coefficients(int n, const float* table, float* coefficients, int64_t tables, int threads) {
  with_pins(n, [=](auto pins) { find_coefficients<pins>(table, coefficients, tables, threads); });
}

DL_EXPORT dl_squash(const float* logits, float* table, int64_t count, int threads) {
  squash(logits, table, count, threads);
}

DL_EXPORT dl_differentiate_squash(float* grad, const float* table, int64_t count, int threads) {
  differentiate_squash(grad, table, count, threads);
}

DL_EXPORT dl_repeat_rows(const float* from, float* out, int64_t rows, int64_t times, int64_t batch, int threads) {
  repeat_rows(from, out, rows, times, batch, threads);
}

DL_EXPORT dl_choose(const float* logits, const int64_t* candidates, int64_t* chosen, int64_t pins, int64_t choices,
                    int threads) {
  choose(logits, candidates, chosen, pins, choices, threads);
}

// `table_grad` may be null.
DL_EXPORT dl_sum_by_feature(int kind, int n, const RuleArguments* arguments, float* out, float* table_grad,
                            int64_t inputs, int threads) {
  const RuleArguments a = *arguments;
  with_rule(kind, n, a, [=](auto pins, const auto& rule) {
    if constexpr (std::decay_t<decltype(rule)>::has_pins)
      if (a.batch > SHORT_ROW)
        return gather_by_feature<pins>(rule, a.wiring, out, table_grad, inputs, a.nodes, a.batch, threads);
    scatter_by_feature<pins>(rule, a.wiring, out, table_grad, inputs, a.nodes, a.batch, threads);
  });
}

DL_EXPORT dl_correlate(int kind, int n, const RuleArguments* arguments, const int64_t* candidates, float* gains,
                       int64_t inputs, int64_t choices, int threads) {
  const RuleArguments a = *arguments;
  const std::vector<uint16_t> bits = pack_bits(a.features, inputs * a.batch, threads);
  with_rule(kind, n, a, [&](auto pins, const auto& rule) {
    if (!bits.empty())
      correlate<pins>(rule, bits.data(), candidates, gains, choices, a.nodes, a.batch, threads);
    else
      correlate<pins>(rule, a.features, candidates, gains, choices, a.nodes, a.batch, threads);
  });
  forget_walk(a.wiring, a.nodes, n, inputs);  // it learns: in the next step it is another one
}

// The number of walks that are kept.
extern "C" int64_t dl_count_walks() {
  const std::lock_guard<std::mutex> lock(walks_mutex);
  return known_walks.size();
}

DL_EXPORT dl_transpose(const float* from, int64_t stride, float* to, int64_t rows, int64_t columns, int threads) {
  transpose(from, stride, to, rows, columns, threads);
}

DL_EXPORT dl_differentiate_choice(const float* gains, const float* logits, float* out, int64_t pins, int64_t choices,
                                  float tau, int threads) {
  differentiate_choice(gains, logits, out, pins, choices, tau, threads);
}

// Whether all indices are from 0 to limit - 1.
extern "C" int dl_all_below(const int64_t* indices, int64_t count, int64_t limit) {
  uint64_t outside = 0;
  for (int64_t i = 0; i < count; ++i) outside |= uint64_t(indices[i]) | (uint64_t(limit) - 1 - uint64_t(indices[i]));
  return outside >> 63 == 0;
}
