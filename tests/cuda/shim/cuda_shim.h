// Stands in for the CUDA device language where a host compiler builds the kernels (kernels/cuda/device.h).
#pragma once

#include <math.h>
#include <string.h>

#include "tests/cuda/shim/fiber.h"

#define __restrict__ __restrict

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

namespace emulation {
extern dim3 block_index, block_extent, grid_extent;
extern char* dynamic_shared;
// The emulator's own memory is nobody's business (watch_on.cc).
#define EMULATION_UNWATCHED inline __attribute__((no_sanitize_thread))
EMULATION_UNWATCHED dim3 own_thread() { return current->thread; }
EMULATION_UNWATCHED dim3 own_block() { return block_index; }
EMULATION_UNWATCHED dim3 block_size() { return block_extent; }
EMULATION_UNWATCHED dim3 grid_size() { return grid_extent; }
EMULATION_UNWATCHED unsigned char* own_dynamic_shared() {
  return reinterpret_cast<unsigned char*>(dynamic_shared);
}
void* static_shared(int* id, size_t bytes);
void collective(Op op, uint32_t mask, const void* in, void* out, int arg, const char* where);
void barrier(const char* where);

template <typename T>
T shuffle(Op op, uint32_t mask, T value, int arg, const char* where) {
  static_assert(sizeof(T) == 4, "32-bit shuffles only");
  T result;
  collective(op, mask, &value, &result, arg, where);
  return result;
}
inline unsigned ballot(uint32_t mask, int predicate, const char* where) {
  unsigned result = 0;
  collective(Op::kBallot, mask, &predicate, &result, 0, where);
  return result;
}

inline void product(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, const char* where) {
  struct {
    uint32_t a[4], b[2];
    int32_t c[4];
  } in = {{a[0], a[1], a[2], a[3]}, {b0, b1}, {c[0], c[1], c[2], c[3]}};
  collective(Op::kProductS8, 0xffffffffu, &in, c, 0, where);
}

// Copies are made when they are waited for: what nobody waits for is seen.
void copy_async(void* to, const void* from, unsigned bytes);
void copies_issued();
void wait_for_copies(size_t left);
int atomic_add(int* p, int v);

}  // namespace emulation

#define threadIdx (::emulation::own_thread())
#define blockIdx (::emulation::own_block())
#define blockDim (::emulation::block_size())
#define gridDim (::emulation::grid_size())

// A place in the source. __COUNTER__: two collectives can share a line.
#define EMULATION_TEXT2(x) #x
#define EMULATION_TEXT(x) EMULATION_TEXT2(x)
#define EMULATION_HERE __FILE__ ":" EMULATION_TEXT(__LINE__) "#" EMULATION_TEXT(__COUNTER__)

#define __syncthreads() ::emulation::barrier(EMULATION_HERE)
#define __shfl_sync(mask, value, lane) \
  ::emulation::shuffle(::emulation::Op::kShuffle, mask, value, lane, EMULATION_HERE)
#define __shfl_xor_sync(mask, value, bits) \
  ::emulation::shuffle(::emulation::Op::kShuffleXor, mask, value, bits, EMULATION_HERE)
#define __ballot_sync(mask, predicate) ::emulation::ballot(mask, (predicate) != 0, EMULATION_HERE)

inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 4; ++i) c += static_cast<int8_t>(a >> 8 * i) * static_cast<int8_t>(b >> 8 * i);
  return c;
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i)
    result |= static_cast<unsigned>(bytes >> (selector >> 4 * i & 7) * 8 & 0xff) << 8 * i;
  return result;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int atomicAdd(int* p, int v) { return ::emulation::atomic_add(p, v); }

#define LSRT_DEVICE inline
#define LSRT_DEVICE_CALLED inline
#define LSRT_KERNEL(name, Params, threads) void lsrt_##name(const Params& p)
#define LSRT_SHARED(T, name)    \
  static int name##_place = -1; \
  T& name = *static_cast<T*>(::emulation::static_shared(&name##_place, sizeof(T)))
#define LSRT_DYNAMIC_SHARED(name) unsigned char* const name = ::emulation::own_dynamic_shared()

namespace lsrt {
namespace cuda {

#define product_s8(c, a, b0, b1) ::emulation::product(c, a, b0, b1, EMULATION_HERE)
#define load_matrix(r, row) \
  ::emulation::collective(::emulation::Op::kLoadMatrix, 0xffffffffu, row, r, 0, EMULATION_HERE)

inline void copy_async(void* to, const void* from, unsigned bytes) {
  ::emulation::copy_async(to, from, bytes);
}
inline void copies_issued() { ::emulation::copies_issued(); }
template <int left>
void wait_for_copies() {
  ::emulation::wait_for_copies(left);
}

}  // namespace cuda
}  // namespace lsrt
