// GPU kernels that do not depend on the number of pins: gradients of pins to where they belong, and the choice of
// inputs. Pins are numbered node by node; pin_grad is (pins, width), their gradients at `width` samples of the batch
// from `begin` on.
constexpr int COUNT = 4, TILE = COUNT * WARP;  // samples of a lane and of a warp at a time
constexpr int CHOICES = 16;                    // of a pin that one warp works on
constexpr unsigned INFINITE = 0x7f800000;      // the bits of an infinite float

// out (inputs, batch), those samples: the sum of the rows of pin_grad that read each input, as in dl_sum_reads.
DL_KERNEL dl_sum_rows(const Row* __restrict__ pin_grad, const Index* __restrict__ readers,
                      const Index* __restrict__ offsets, Row* __restrict__ out, int inputs, int batch, int begin,
                      int width) {
  const int lane = threadIdx.x, input = blockIdx.x * blockDim.y + threadIdx.y;
  if (input >= inputs) return;
  const Index end = offsets[input + 1];
  for (int first = blockIdx.y * TILE + lane; first < width; first += gridDim.y * TILE) {
    Samples<COUNT> sum = {};
    for (Index k = offsets[input]; k < end; ++k) sum += read_samples<COUNT>(pin_grad + readers[k] * width, first, width);
    write_samples(out + Index(input) * batch + begin, first, width, sum);
  }
}

// parts (slices, pins, choices) = the sum over `slice` of those samples, for each blockIdx.z, of pin gradient times
// candidate feature; blockIdx.y counts groups of choices.
DL_KERNEL dl_correlate(const Row* __restrict__ pin_grad, const Row* __restrict__ features,
                       const Index* __restrict__ candidates, float* __restrict__ parts, int pins, int choices,
                       int inputs, int batch, int begin, int width, int slice) {
  const int lane = threadIdx.x, pin = blockIdx.x * blockDim.y + threadIdx.y, group = blockIdx.y * CHOICES;
  if (pin >= pins) return;
  const int count = choices - group < CHOICES ? choices - group : CHOICES;
  const Row* own = pin_grad + Index(pin) * width;
  const Row* rows[CHOICES];
  DL_UNROLL(16)
  for (int k = 0; k < CHOICES; ++k) {  // a group that is not full is filled up with its first choice
    const Index candidate = candidates[Index(pin) * choices + group + (k < count ? k : 0)];
    rows[k] = find_row(features, candidate, inputs, batch) + begin;
  }
  float sums[CHOICES] = {};
  const int first = blockIdx.z * slice, end = width - first < slice ? width : first + slice;
  for (int s = first + lane; s < end; s += WARP) {
    const float g = widen(own[s]);
    DL_UNROLL(16)
    for (int k = 0; k < CHOICES; ++k) sums[k] += g * widen(rows[k][s]);
  }
  sum_over_lanes<CHOICES>(sums, lane);
  write_sums<CHOICES>(sums, lane, parts + (Index(blockIdx.z) * pins + pin) * choices + group, count);
}

// sums (count) of parts (slices, count), in the order of the slices.
DL_KERNEL dl_add_slices(const float* __restrict__ parts, float* __restrict__ sums, Index count, int slices) {
  const Index i = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float sum = parts[i];
  for (int slice = 1; slice < slices; ++slice) sum += parts[slice * count + i];
  sums[i] = sum;
}

// out (pins, choices) = the gradient of sum_k softmax(logits / tau)_k * gains_k in the logits. A warp works on one pin.
DL_KERNEL dl_differentiate_choice(const float* __restrict__ gains, const float* __restrict__ logits,
                                  float* __restrict__ out, int pins, int choices, float tau) {
  const int lane = threadIdx.x, pin = blockIdx.x * blockDim.y + threadIdx.y;
  if (pin >= pins) return;
  const float *row = logits + Index(pin) * choices, *gain = gains + Index(pin) * choices;
  const float sharpness = 1 / tau;
  float largest = -dl_float_of_bits(INFINITE);
  for (int k = lane; k < choices; k += WARP) largest = row[k] > largest ? row[k] : largest;
  for (int distance = WARP / 2; distance > 0; distance /= 2) {
    const float other = dl_swap(largest, distance);
    largest = other > largest ? other : largest;
  }
  float total = 0, mean = 0;
  for (int k = lane; k < choices; k += WARP) {
    const float weight = dl_exp((row[k] - largest) * sharpness);
    total += weight;
    mean += weight * gain[k];
  }
  for (int distance = WARP / 2; distance > 0; distance /= 2) {
    total += dl_swap(total, distance);
    mean += dl_swap(mean, distance);
  }
  mean /= total;
  for (int k = lane; k < choices; k += WARP)
    out[Index(pin) * choices + k] = dl_exp((row[k] - largest) * sharpness) / total * sharpness * (gain[k] - mean);
}

// The candidate of each pin with the largest logit, the first of equals; a NaN counts as infinite.
DL_KERNEL dl_choose(const float* __restrict__ logits, const Index* __restrict__ candidates, Index* __restrict__ chosen,
                    int pins, int choices) {
  const int lane = threadIdx.x, pin = blockIdx.x * blockDim.y + threadIdx.y;
  if (pin >= pins) return;
  const float infinite = dl_float_of_bits(INFINITE);
  float best = -infinite;
  int place = lane < choices ? lane : choices;
  for (int k = lane; k < choices; k += WARP) {
    float logit = logits[Index(pin) * choices + k];
    if (logit != logit) logit = infinite;
    if (logit > best) best = logit, place = k;
  }
  for (int distance = WARP / 2; distance > 0; distance /= 2) {
    const float other = dl_swap(best, distance);
    const int other_place = dl_swap(place, distance);
    if (other > best || (other == best && other_place < place)) best = other, place = other_place;
  }
  if (lane == 0) chosen[pin] = candidates[Index(pin) * choices + place];
}
