// The device language: all that differs between nvcc and a host compiler (tests/cuda/shim, which stands in
// for CUDA) is here, nothing in the kernels.
//
// Kernels are launched in whole warps, and all lanes of a warp take part in whatever needs a warp.
#pragma once

#include <stdint.h>

#ifdef __CUDACC__

#define LSRT_DEVICE __device__ __forceinline__
// What a kernel has once, however often it is called.
#define LSRT_DEVICE_CALLED static __device__ __noinline__
// A kernel of kernels.inc: threads is the most of a block.
#define LSRT_KERNEL(name, Params, threads) \
  extern "C" __global__ void __launch_bounds__(threads, 1) lsrt_##name(const Params p)
// Shared memory of a block: one struct a kernel, and the dynamic part.
#define LSRT_SHARED(T, name) __shared__ T name
#define LSRT_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

namespace lsrt {
namespace cuda {

// c += a b of 16 x 8 outputs and 32 inputs, in fragments of the PTX manual's m16n8k32.
LSRT_DEVICE void product_s8(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else  // Turing: the same fragments as four of m8n8k16
  const uint32_t b[2] = {b0, b1};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
                   : "+r"(c[2 * half]), "+r"(c[2 * half + 1])
                   : "r"(a[half + 2 * k]), "r"(b[k]));
    }
  }
#endif
}

// Each lane's 16 bytes of shared memory at `row`; r is a fragment a of product_s8 where lane i points at row
// i % 16, bytes i / 16 * 16.
LSRT_DEVICE void load_matrix(uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// Copies 16 aligned bytes to shared memory, zeros where bytes is 0; they are there after a wait and a
// barrier.
LSRT_DEVICE void copy_async(void* to, const void* from, unsigned bytes) {
#if __CUDA_ARCH__ >= 800
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes)
               : "memory");
#else
  *static_cast<uint4*>(to) = bytes ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
}
// Ends a group of copies.
LSRT_DEVICE void copies_issued() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits for all groups but the last `left`.
template <int left>
LSRT_DEVICE void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#endif
}

}  // namespace cuda
}  // namespace lsrt

#else

#include <cuda_shim.h>

#endif
