// GPU kernels of nodes that are tables, for nodes with DL_PINS pins.
//
// Arrays are contiguous: features (inputs, batch), wiring (nodes, n), tables (nodes, outputs, 2**n), outputs and their
// gradients (nodes * outputs, batch). A warp works on one node, for every gridDim.y-th tile of samples.
constexpr int PINS = DL_PINS, ENTRIES = 1 << PINS;
constexpr int COUNT = PINS <= 4 ? 4 : PINS <= 6 ? 2 : 1;  // samples of one lane at a time; registers bound it
constexpr int TILE = COUNT * WARP;

typedef Samples<COUNT> Some;
typedef Halves<PINS> H;

// The rows that the pins of a node read.
struct PinRows {
  const Row* at[PINS];
  DL_INLINE PinRows(const Row* features, const Index* wiring, int node, int inputs, int batch) {
    DL_UNROLL(8)
    for (int j = 0; j < PINS; ++j) at[j] = find_row(features, wiring[Index(node) * PINS + j], inputs, batch);
  }
};

// Copies a table to shared memory of this warp, when all lanes are done with what was there.
DL_INLINE void stage(const float* table, int lane, float* own) {
  dl_sync_warp();
  for (int a = lane; a < ENTRIES; a += WARP) own[a] = table[a];
  dl_sync_warp();
}

// The entries at the thresholded pins, and their addresses, in rows of `padded` samples; 0 beyond the batch.
DL_KERNEL dl_read_tables(const float* __restrict__ table, const Row* __restrict__ features,
                         const Index* __restrict__ wiring, Row* __restrict__ values,
                         unsigned char* __restrict__ address, int nodes, int outputs, int inputs, int batch,
                         int padded) {
  const int lane = threadIdx.x, node = blockIdx.x * blockDim.y + threadIdx.y;
  if (node >= nodes) return;
  const PinRows rows(features, wiring, node, inputs, batch);
  for (int first = blockIdx.y * TILE + lane; first < padded; first += gridDim.y * TILE) {
    int addresses[COUNT] = {};
    DL_UNROLL(8)
    for (int j = 0; j < PINS; ++j) {
      const Some x = read_samples<COUNT>(rows.at[j], first, batch);
      DL_UNROLL(4)
      for (int i = 0; i < COUNT; ++i) addresses[i] |= int(x.at[i] >= 0.5f) << j;
    }
    DL_UNROLL(4)
    for (int i = 0; i < COUNT; ++i)
      if (first + i * WARP < padded) address[Index(node) * padded + first + i * WARP] = addresses[i];
    for (Index o = Index(node) * outputs; o < Index(node + 1) * outputs; ++o) {
      Some value;
      DL_UNROLL(4)
      for (int i = 0; i < COUNT; ++i) value.at[i] = table[o * ENTRIES + addresses[i]];
      write_samples(values + o * batch, first, batch, value);
    }
  }
}

// The multilinear extensions at the pins. Needs ENTRIES floats of shared memory per warp.
DL_KERNEL dl_expect(const float* __restrict__ table, const Row* __restrict__ features,
                    const Index* __restrict__ wiring, Row* __restrict__ values, int nodes, int outputs, int inputs,
                    int batch) {
  DL_SHARED(float, tables);
  const int lane = threadIdx.x, node = blockIdx.x * blockDim.y + threadIdx.y;
  if (node >= nodes) return;
  float* own = tables + threadIdx.y * ENTRIES;
  const PinRows rows(features, wiring, node, inputs, batch);
  for (Index o = Index(node) * outputs; o < Index(node + 1) * outputs; ++o) {
    stage(table + o * ENTRIES, lane, own);
    for (int tile = blockIdx.y * TILE; tile < batch; tile += gridDim.y * TILE) {
      // Entries that fit registers stay in them; of larger tables, the compiler must not try.
      if constexpr (PINS > 6) dl_sync_warp();
      const int first = tile + lane;
      Some x[PINS], low[H::columns], high[H::rows], sums[H::rows];
      DL_UNROLL(8)
      for (int j = 0; j < PINS; ++j) x[j] = read_samples<COUNT>(rows.at[j], first, batch);
      corner_weights<H::low_pins>(x, low);
      weigh_columns<H::rows, H::columns>(own, H::columns, 1, low, sums);
      corner_weights<H::high_pins>(x + H::low_pins, high);
      Some value = sums[0] * high[0];
      DL_UNROLL(16)
      for (int r = 1; r < H::rows; ++r) value += sums[r] * high[r];
      write_samples(values + o * batch, first, batch, value);
    }
  }
}

// Sums over a slice of `slice` samples for each blockIdx.y: (slices, nodes * outputs, 2**n) parts of the gradient of
// the entries that were read. Needs WARP * ENTRIES floats of shared memory per warp.
DL_KERNEL dl_sum_entries(const Row* __restrict__ grad, const unsigned char* __restrict__ address,
                         float* __restrict__ parts, int rows, int outputs, int batch, int padded, int slice) {
  DL_SHARED(float, histograms);
  const int lane = threadIdx.x, row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  float* own = histograms + threadIdx.y * ENTRIES * WARP;  // a column for every lane
  for (int a = 0; a < ENTRIES; ++a) own[a * WARP + lane] = 0;
  const Row* values = grad + Index(row) * batch;
  const unsigned char* addresses = address + Index(row / outputs) * padded;
  const int begin = blockIdx.y * slice, end = batch - begin < slice ? batch : begin + slice;
  for (int s = begin + lane; s < end; s += WARP) own[addresses[s] * WARP + lane] += widen(values[s]);
  dl_sync_warp();
  for (int a = lane; a < ENTRIES; a += WARP) {
    float sum = 0;
    for (int i = 0; i < WARP; ++i) sum += own[a * WARP + ((i + lane) & (WARP - 1))];  // each lane in another bank
    parts[(Index(blockIdx.y) * rows + row) * ENTRIES + a] = sum;
  }
}

// The same parts of the table gradient of multilinear extensions: sums of gradient times corner weights. A warp holds
// up to 64 of them in registers; of larger tables each blockIdx.z takes a share, chosen by the highest pins.
DL_KERNEL dl_expect_table_gradient(const Row* __restrict__ grad, const Row* __restrict__ features,
                                   const Index* __restrict__ wiring, float* __restrict__ parts, int rows, int outputs,
                                   int inputs, int batch, int slice) {
  constexpr int shared_pins = PINS <= 6 ? 0 : PINS - 6;  // among the shares
  constexpr int high_pins = H::high_pins - shared_pins, own_rows = 1 << high_pins, held = own_rows * H::columns;
  const int lane = threadIdx.x, row = blockIdx.x * blockDim.y + threadIdx.y, share = blockIdx.z;
  if (row >= rows) return;
  const PinRows pins(features, wiring, row / outputs, inputs, batch);
  const Row* values = grad + Index(row) * batch;
  float sums[held] = {};
  const int begin = blockIdx.y * slice, end = batch - begin < slice ? batch : begin + slice;
  for (int s = begin + lane; s < end; s += WARP) {
    float x[PINS], low[H::columns], high[own_rows], weight = widen(values[s]);
    DL_UNROLL(8)
    for (int j = 0; j < PINS; ++j) x[j] = widen(pins.at[j][s]);
    DL_UNROLL(2)
    for (int j = 0; j < shared_pins; ++j) {
      const float pin = x[PINS - shared_pins + j];
      weight *= share >> j & 1 ? pin : 1.0f - pin;
    }
    corner_weights<H::low_pins>(x, low);
    corner_weights<high_pins>(x + H::low_pins, high);
    DL_UNROLL(16)
    for (int r = 0; r < own_rows; ++r) {
      high[r] *= weight;
      DL_UNROLL(16)
      for (int c = 0; c < H::columns; ++c) sums[r * H::columns + c] += high[r] * low[c];
    }
  }
  sum_over_lanes<held>(sums, lane);
  write_sums<held>(sums, lane, parts + (Index(blockIdx.y) * rows + row) * ENTRIES + share * held, held);
}

// A thread works on one entry of a table, so a block on blockDim.x / ENTRIES tables; what a thread of none computes is
// not written. Needs blockDim.x floats of shared memory.
template <class Step>
DL_INLINE float transform(float* shared, float value, Step step) {
  for (int stride = 1; stride < ENTRIES; stride *= 2) {
    shared[threadIdx.x] = value;
    dl_sync_block();
    value = step(value, shared[threadIdx.x ^ stride], bool(threadIdx.x & stride));
    dl_sync_block();
  }
  return value;
}

struct WalshStep {
  DL_INLINE float operator()(float own, float other, bool is_upper) const {
    return is_upper ? other - own : own + other;
  }
};

struct CoefficientStep {
  DL_INLINE float operator()(float own, float other, bool is_upper) const { return is_upper ? own - other : own; }
};

// differences (tables, n, 2**(n - 1)): across each address bit, of the tables after their Walsh transforms have been
// multiplied by `diagonal` (2**n).
DL_KERNEL dl_spread(const float* __restrict__ table, const float* __restrict__ diagonal,
                    float* __restrict__ differences, int tables) {
  DL_SHARED(float, entries);
  const Index first = Index(blockIdx.x) * (blockDim.x / ENTRIES), index = first + threadIdx.x / ENTRIES;
  const int entry = threadIdx.x % ENTRIES;
  float value = index < tables ? table[index * ENTRIES + entry] : 0.0f;
  value = transform(entries, value, WalshStep()) * diagonal[entry];
  entries[threadIdx.x] = transform(entries, value, WalshStep());
  dl_sync_block();
  const int half = ENTRIES / 2;
  if (index >= tables || entry >= half) return;
  const float* own = entries + threadIdx.x / ENTRIES * ENTRIES;
  for (int j = 0; j < PINS; ++j) {
    const int low = entry >> j << (j + 1) | (entry & ((1 << j) - 1));
    differences[(index * PINS + j) * half + entry] = own[low | 1 << j] - own[low];
  }
}

// coefficients (tables, 2**n) of the polynomials that are linear in each pin and take the tables' values at the corners.
DL_KERNEL dl_find_coefficients(const float* __restrict__ table, float* __restrict__ coefficients, int tables) {
  DL_SHARED(float, entries);
  const Index index = Index(blockIdx.x) * blockDim.x + threadIdx.x, count = Index(tables) * ENTRIES;
  const float value = transform(entries, index < count ? table[index] : 0.0f, CoefficientStep());
  if (index < count) coefficients[index] = value;
}

// pin_grad (nodes * n, width): the gradients of the pins of multilinear extensions at `width` samples from `begin` on,
// from the polynomials' coefficients. Needs ENTRIES floats of shared memory per warp.
DL_KERNEL dl_differentiate_expected(const Row* __restrict__ grad, const float* __restrict__ coefficients,
                                    const Row* __restrict__ features, const Index* __restrict__ wiring,
                                    Row* __restrict__ pin_grad, int nodes, int outputs, int inputs, int batch,
                                    int begin, int width) {
  DL_SHARED(float, tables);
  const int lane = threadIdx.x, node = blockIdx.x * blockDim.y + threadIdx.y;
  if (node >= nodes) return;
  float* own = tables + threadIdx.y * ENTRIES;
  const PinRows rows(features + begin, wiring, node, inputs, batch);
  bool is_staged = false;
  for (int tile = blockIdx.y * TILE; tile < width; tile += gridDim.y * TILE) {
    const int first = tile + lane;
    Some x[PINS], result[PINS] = {};
    DL_UNROLL(8)
    for (int j = 0; j < PINS; ++j) x[j] = read_samples<COUNT>(rows.at[j], first, width);
    const Some* high = x + H::low_pins;
    for (Index o = Index(node) * outputs; o < Index(node + 1) * outputs; ++o) {
      if (outputs > 1 || !is_staged) stage(coefficients + o * ENTRIES, lane, own);
      is_staged = true;
      const Some g = read_samples<COUNT>(grad + o * batch + begin, first, width);
      Some slopes[PINS], by_column[H::columns], by_row[H::rows];
      DL_UNROLL(16)
      for (int c = 0; c < H::columns; ++c)
        by_column[c] = evaluate_polynomial<H::high_pins>(own + c, H::columns, high);
      derivatives<H::low_pins>(by_column, x, slopes);
      DL_UNROLL(16)
      for (int r = 0; r < H::rows; ++r) by_row[r] = evaluate_polynomial<H::low_pins>(own + r * H::columns, 1, x);
      derivatives<H::high_pins>(by_row, high, slopes + H::low_pins);
      DL_UNROLL(8)
      for (int j = 0; j < PINS; ++j) result[j] += g * slopes[j];
    }
    DL_UNROLL(8)
    for (int j = 0; j < PINS; ++j) write_samples(pin_grad + (Index(node) * PINS + j) * width, first, width, result[j]);
  }
}

// The gradient of pin j of a node at one sample, for hard look-ups: differences (nodes, outputs, n, 2**(n - 1)) hold
// that of each output at every address, from which bit j is left out.
DL_INLINE float differentiate_read(const Row* grad, const float* differences, int address, int node, int j,
                                   int outputs, int batch, int sample) {
  const int below = (1 << j) - 1, others = (address & below) | (address >> 1 & ~below);
  float sum = 0;
  for (Index o = Index(node) * outputs; o < Index(node + 1) * outputs; ++o)
    sum += widen(grad[o * batch + sample]) * differences[(o * PINS + j) * (ENTRIES / 2) + others];
  return sum;
}

// As dl_differentiate_expected, for hard look-ups.
DL_KERNEL dl_differentiate_reads(const Row* __restrict__ grad, const float* __restrict__ differences,
                                 const unsigned char* __restrict__ address, Row* __restrict__ pin_grad, int nodes,
                                 int outputs, int batch, int padded, int begin, int width) {
  const int lane = threadIdx.x, node = blockIdx.x * blockDim.y + threadIdx.y;
  if (node >= nodes) return;
  for (int s = blockIdx.y * WARP + lane; s < width; s += gridDim.y * WARP) {
    const int own = address[Index(node) * padded + begin + s];
    DL_UNROLL(8)
    for (int j = 0; j < PINS; ++j)
      pin_grad[(Index(node) * PINS + j) * width + s] =
          narrow(differentiate_read(grad, differences, own, node, j, outputs, batch, begin + s));
  }
}

// out (inputs, batch) = the sum of the gradients of the pins of hard look-ups that read each input: pins readers[k],
// for k from offsets[input] to offsets[input + 1] - 1, in that order. A warp works on one input.
DL_KERNEL dl_sum_reads(const Row* __restrict__ grad, const float* __restrict__ differences,
                       const unsigned char* __restrict__ address, const Index* __restrict__ readers,
                       const Index* __restrict__ offsets, Row* __restrict__ out, int outputs, int inputs, int batch,
                       int padded) {
  const int lane = threadIdx.x, input = blockIdx.x * blockDim.y + threadIdx.y;
  if (input >= inputs) return;
  const Index end = offsets[input + 1];
  for (int first = blockIdx.y * TILE + lane; first < batch; first += gridDim.y * TILE) {
    Some sum = {};
    for (Index k = offsets[input]; k < end; ++k) {
      const int node = readers[k] / PINS, j = readers[k] % PINS;
      const unsigned char* own = address + Index(node) * padded;
      DL_UNROLL(4)
      for (int i = 0; i < COUNT; ++i) {
        const int s = first + i * WARP;
        if (s < batch) sum.at[i] += differentiate_read(grad, differences, own[s], node, j, outputs, batch, s);
      }
    }
    write_samples(out + Index(input) * batch, first, batch, sum);
  }
}
