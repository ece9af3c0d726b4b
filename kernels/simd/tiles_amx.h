// The tile registers of AMX, or an emulation of them for the test build with LSRT_SIMDE. A tile has up to 16
// rows of up to 64 bytes. Tiles are a thread's own and mean nothing outside of a kernel: each one configures
// what it uses and releases it.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/simd/avx512.h"

namespace lsrt {
namespace amx {
namespace {

constexpr size_t kTileRows = 16, kTileBytes = 64;

// Rows and bytes of a row of each tile, as LDTILECFG reads them.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};

  void set(size_t tile, size_t tile_rows, size_t row_bytes) {
    rows[tile] = (uint8_t)tile_rows;
    bytes[tile] = (uint16_t)row_bytes;
  }
};
static_assert(sizeof(TileShapes) == 64, "the instruction's operand");

#ifdef LSRT_SIMDE

struct EmulatedTiles {
  TileShapes shapes;
  uint8_t data[8][kTileRows][kTileBytes];
};
thread_local EmulatedTiles emulated;

inline void tiles_configure(const TileShapes& shapes) {
  emulated.shapes = shapes;
  memset(emulated.data, 0, sizeof emulated.data);
}
inline void tiles_release() { memset((void*)&emulated, 0xff, sizeof emulated); }

template <int kTile>
void tile_zero() {
  memset(emulated.data[kTile], 0, sizeof emulated.data[kTile]);
}
template <int kTile>
void tile_load(const void* from, size_t stride) {
  tile_zero<kTile>();
  for (size_t r = 0; r < emulated.shapes.rows[kTile]; ++r)
    memcpy(emulated.data[kTile][r], (const uint8_t*)from + r * stride, emulated.shapes.bytes[kTile]);
}
template <int kTile>
void tile_store(void* to, size_t stride) {
  for (size_t r = 0; r < emulated.shapes.rows[kTile]; ++r)
    memcpy((uint8_t*)to + r * stride, emulated.data[kTile][r], emulated.shapes.bytes[kTile]);
}
template <int kSum, int kBytes, int kWeights>
void tile_add_dots() {
  const TileShapes& s = emulated.shapes;
  for (size_t m = 0; m < s.rows[kSum]; ++m) {
    for (size_t n = 0; n < s.bytes[kSum] / 4u; ++n) {
      uint32_t sum;
      memcpy(&sum, emulated.data[kSum][m] + 4 * n, sizeof sum);
      for (size_t k = 0; k < s.bytes[kBytes]; ++k) {
        const int weight = (int8_t)emulated.data[kWeights][k / 4][4 * n + k % 4];
        sum += (uint32_t)(emulated.data[kBytes][m][k] * weight);
      }
      memcpy(emulated.data[kSum][m] + 4 * n, &sum, sizeof sum);
    }
  }
}

#else

inline void tiles_configure(const TileShapes& shapes) { __asm__ volatile("ldtilecfg %0" : : "m"(shapes)); }
inline void tiles_release() { __asm__ volatile("tilerelease"); }

// The numbers of tiles are part of the instructions; volatile keeps these in order.
template <int kTile>
inline __attribute__((always_inline)) void tile_zero() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
template <int kTile>
inline __attribute__((always_inline)) void tile_load(const void* from, size_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
inline __attribute__((always_inline)) void tile_store(void* to, size_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
}
// sum[m][n] += sum over k of bytes[m][k] * weights[k / 4][n][k % 4]: unsigned bytes, signed weights.
template <int kSum, int kBytes, int kWeights>
inline __attribute__((always_inline)) void tile_add_dots() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kBytes), "i"(kWeights));
}

#endif

}  // namespace
}  // namespace amx
}  // namespace lsrt
