// What the lanes of a warp do together.
#include <cstring>

#include "tests/cuda/shim/fiber.h"

namespace emulation {
namespace {

bool in(uint32_t mask, int lane) { return mask >> lane & 1; }

void shuffle(Op op, Fiber* warp, uint32_t mask) {
  uint32_t value[32] = {};
  for (int lane = 0; lane < 32; ++lane) {
    if (in(mask, lane)) std::memcpy(&value[lane], warp[lane].in, sizeof *value);
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (!in(mask, lane)) continue;
    const int arg = warp[lane].arg;
    const int from = (op == Op::kShuffle ? arg : lane ^ arg) & 31;
    if (!in(mask, from))
      note_error(std::string("a shuffle reads a lane outside its mask at ") + warp[lane].where);
    std::memcpy(warp[lane].out, &value[from], sizeof *value);
  }
}

void ballot(Fiber* warp, uint32_t mask) {
  uint32_t votes = 0;
  for (int lane = 0; lane < 32; ++lane) {
    int vote = 0;
    if (in(mask, lane)) std::memcpy(&vote, warp[lane].in, sizeof vote);
    votes |= static_cast<uint32_t>(vote != 0) << lane;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (in(mask, lane)) std::memcpy(warp[lane].out, &votes, sizeof votes);
  }
}

// mma.sync.m16n8k32 of int8: fragments as the PTX manual has them, of lane 4 g + t.
void product_s8(Fiber* warp) {
  ++stats.products;
  struct In {
    uint32_t a[4], b[2];
    int32_t c[4];
  };
  int16_t a[16][32], b[8][32];
  for (int lane = 0; lane < 32; ++lane) {
    In in;
    std::memcpy(&in, warp[lane].in, sizeof in);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      for (int part = 0; part < 4; ++part) {
        a[g + part % 2 * 8][part / 2 * 16 + t * 4 + i] = static_cast<int8_t>(in.a[part] >> 8 * i);
      }
      for (int part = 0; part < 2; ++part) {
        b[g][part * 16 + t * 4 + i] = static_cast<int8_t>(in.b[part] >> 8 * i);
      }
    }
  }
  int32_t sum[16][8];
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      int32_t s = 0;
      for (int k = 0; k < 32; ++k) s += a[m][k] * b[n][k];
      sum[m][n] = s;
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    In in;
    std::memcpy(&in, warp[lane].in, sizeof in);
    const int g = lane / 4, t = lane % 4;
    uint32_t c[4];
    for (int i = 0; i < 4; ++i) {
      c[i] = static_cast<uint32_t>(in.c[i]) + static_cast<uint32_t>(sum[g + i / 2 * 8][t * 2 + i % 2]);
    }
    std::memcpy(warp[lane].out, c, sizeof c);
  }
}

// ldmatrix.x4: four 8 x 8 matrices of 16 bits, whose rows the lanes point at, 8 lanes a matrix.
void load_matrix(Fiber* warp) {
  Fiber* const last = current;
  for (int lane = 0; lane < 32; ++lane) {
    current = warp + lane;  // each lane reads the row that it points at
    watch_access(warp[lane].in, 16, Access::kRead);
    if (reinterpret_cast<uintptr_t>(warp[lane].in) % 16 != 0 || !is_shared(warp[lane].in)) {
      note_error(std::string("a matrix row is not 16 aligned bytes of shared memory at ") + warp[lane].where);
    }
  }
  current = last;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const Fiber& row = warp[i * 8 + lane / 4];
      std::memcpy(static_cast<char*>(warp[lane].out) + 4 * i, static_cast<const char*>(row.in) + lane % 4 * 4,
                  4);
    }
  }
}

}  // namespace

void run_collective(Op op, Fiber* warp, uint32_t mask) {
  if (op == Op::kShuffle || op == Op::kShuffleXor) shuffle(op, warp, mask);
  if (op == Op::kBallot) ballot(warp, mask);
  if (op == Op::kProductS8) product_s8(warp);
  if (op == Op::kLoadMatrix) load_matrix(warp);
}

}  // namespace emulation
