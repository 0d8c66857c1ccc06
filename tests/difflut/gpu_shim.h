// Runs GPU kernels on the CPU: what CUDA C++ has and C++ has not, in terms of fibers.
//
// A thread of a block is a fiber with a stack of its own. Fibers run one at a time, in random order, until they end or
// wait for others; what they wait for is let through when all who must be there wait for the same. So shared memory,
// barriers and exchanges between lanes need no change in the kernel, and a missing barrier shows in wrong results.
// Shared memory starts as NaNs. A kernel that cannot go on, or writes beyond its shared memory, is an error.
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#define DL_EMU
#define __global__

struct dim3 {
  unsigned x, y, z;
};

namespace shim {

enum Wait { NOTHING, BLOCK, WARP_BARRIER, EXCHANGE, ENDED };
const char* const WAITS[] = {"nothing", "a block barrier", "a warp barrier", "an exchange of lanes", "its end"};
constexpr int LANES = 32;
constexpr size_t STACK_BYTES = 1 << 16, GUARD_BYTES = 256;
constexpr unsigned char POISON = 0xff;

struct Fiber {
  std::vector<char> stack = std::vector<char>(STACK_BYTES);
  ucontext_t start;
  jmp_buf place;
  bool is_started;
  Wait wait;
  dim3 thread;
  unsigned exchanges;
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<unsigned char> shared;
  std::vector<uint32_t> exchanged[2];  // in turns, so that nobody overwrites what another has yet to read
  ucontext_t start;
  jmp_buf scheduler;
  int current, threads;
  dim3 index, size, grid;
  void (*kernel)(void**);
  void** arguments;
  std::string error;
};

inline Block block;

inline Fiber& self() { return block.fibers[block.current]; }

__attribute__((noinline)) inline void yield(Wait wait) {
  self().wait = wait;
  if (!_setjmp(self().place)) _longjmp(block.scheduler, 1);
}

inline void fail(const std::string& what) {
  block.error = what;
  yield(ENDED);
}

inline void run_kernel() {
  block.kernel(block.arguments);
  self().wait = ENDED;
  _longjmp(block.scheduler, 1);
}

inline void resume(int thread) {
  block.current = thread;
  Fiber& fiber = self();
  fiber.wait = NOTHING;
  if (_setjmp(block.scheduler)) return;
  if (fiber.is_started) _longjmp(fiber.place, 1);
  fiber.is_started = true;
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack.data();
  fiber.start.uc_stack.ss_size = fiber.stack.size();
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, run_kernel, 0);
  setcontext(&fiber.start);
}

// Lets those of some threads go on that all wait for the same; whether they did.
inline bool release(int first, int count, bool is_warp) {
  const Wait wait = block.fibers[first].wait;
  if (wait == ENDED || (wait != BLOCK) != is_warp) return false;
  for (int i = first; i < first + count; ++i)
    if (block.fibers[i].wait != wait) return false;
  for (int i = first; i < first + count; ++i) block.fibers[i].wait = NOTHING;
  return true;
}

inline void run_block(std::mt19937& random) {
  std::vector<int> ready(block.threads);
  for (int i = 0; i < block.threads; ++i) {
    ready[i] = i;
    Fiber& fiber = block.fibers[i];
    fiber.is_started = false;
    fiber.wait = NOTHING;
    fiber.exchanges = 0;
    const unsigned row = i / block.size.x;
    fiber.thread = {i % block.size.x, row % block.size.y, row / block.size.y};
  }
  std::fill(block.shared.begin(), block.shared.end(), POISON);
  while (block.error.empty()) {
    std::shuffle(ready.begin(), ready.end(), random);
    for (int thread : ready) {
      resume(thread);
      if (!block.error.empty()) return;
    }
    bool is_released = release(0, block.threads, false);
    for (int i = 0; i < block.threads; i += LANES) is_released |= release(i, std::min(LANES, block.threads - i), true);
    ready.clear();
    for (int i = 0; i < block.threads; ++i)
      if (block.fibers[i].wait == NOTHING) ready.push_back(i);
    if (!is_released) {
      for (int i = 0; i < block.threads; ++i)
        if (block.fibers[i].wait != ENDED)
          block.error = std::string("some threads wait in vain for ") + WAITS[block.fibers[i].wait];
      break;
    }
  }
  for (size_t i = block.shared.size() - GUARD_BYTES; i < block.shared.size(); ++i)
    if (block.shared[i] != POISON) block.error = "the kernel writes beyond its shared memory";
}

inline const char* launch(void (*kernel)(void**), const unsigned* grid, const unsigned* size, void** arguments,
                          unsigned shared_bytes, unsigned seed) {
  std::mt19937 random(seed);
  block.kernel = kernel;
  block.arguments = arguments;
  block.grid = {grid[0], grid[1], grid[2]};
  block.size = {size[0], size[1], size[2]};
  block.threads = size[0] * size[1] * size[2];
  block.shared.resize(shared_bytes + GUARD_BYTES);
  if (block.fibers.size() < size_t(block.threads)) block.fibers.resize(block.threads);
  for (auto& exchanged : block.exchanged) exchanged.assign(block.threads, 0);
  block.error.clear();
  std::vector<unsigned> order(grid[0] * grid[1] * grid[2]);
  for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  for (unsigned i : order) {
    const unsigned row = i / grid[0];
    block.index = {i % grid[0], row % grid[1], row / grid[1]};
    run_block(random);
    if (!block.error.empty()) return block.error.c_str();
  }
  return nullptr;
}

template <class... A, size_t... i>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<i...>) {
  kernel(*static_cast<std::remove_const_t<A>*>(arguments[i])...);
}

template <class... A>
void call(void (*kernel)(A...), void** arguments) {
  call(kernel, arguments, std::index_sequence_for<A...>());
}

template <class T>
T swap(T value, int distance) {
  std::vector<uint32_t>& exchanged = block.exchanged[self().exchanges++ % 2];
  memcpy(&exchanged[block.current], &value, sizeof value);
  yield(EXCHANGE);
  memcpy(&value, &exchanged[block.current ^ distance], sizeof value);
  return value;
}

}  // namespace shim

#define threadIdx (shim::self().thread)
#define blockIdx (shim::block.index)
#define blockDim (shim::block.size)
#define gridDim (shim::block.grid)
#define DL_SHARED(type, name) type* name = reinterpret_cast<type*>(shim::block.shared.data())

inline float dl_swap(float value, int distance) { return shim::swap(value, distance); }
inline int dl_swap(int value, int distance) { return shim::swap(value, distance); }
inline void dl_sync_warp() { shim::yield(shim::WARP_BARRIER); }
inline void dl_sync_block() { shim::yield(shim::BLOCK); }
inline void dl_trap() { shim::fail("the kernel ended itself with a trap"); }
inline float dl_exp(float x) { return std::exp(x); }
inline float dl_float_of_bits(unsigned bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned dl_bits_of_float(float value) {
  unsigned bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// A kernel as a function of the shim; beside it, what it computes.
#define DL_EXPORT(name)                                                                                        \
  extern "C" const char* run_##name(const unsigned* grid, const unsigned* block, void** arguments,             \
                                    unsigned shared_bytes, unsigned seed) {                                    \
    return shim::launch([](void** values) { shim::call(name, values); }, grid, block, arguments, shared_bytes, \
                        seed);                                                                                 \
  }
