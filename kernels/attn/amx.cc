// Weighted sums for AMX: the high and low seven bits of 14-bit weights are unsigned bytes, values lie as
// tiles of 64 rows want them.
#include "kernels/attn/weighted_sum_avx512.h"
#include "kernels/isa_sets.h"
#include "kernels/simd/tiles_amx.h"

namespace lsrt {
namespace amx {
namespace {

constexpr size_t kMinRows = 5;        // fewer wait for their values
constexpr size_t kStep = kTileBytes;  // rows of values of a tile
constexpr size_t kChunk = 8 * kStep;  // whose weights are split at a time
constexpr size_t kTileInts = kTileBytes / sizeof(int32_t);

// The weights of at most 16 rows, by high and low bits: [steps][16][64] each.
struct SplitWeights {
  alignas(64) uint8_t high[kChunk / kStep][kTileRows][kStep], low[kChunk / kStep][kTileRows][kStep];

  void split(const uint16_t* weight, size_t ld_weight, size_t rows, size_t steps) {
    const __m512i low_bits = _mm512_set1_epi16(127);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t s = 0; s < steps; ++s) {
        const uint16_t* from = weight + r * ld_weight + s * kStep;
        const __m512i a = _mm512_loadu_si512(from), b = _mm512_loadu_si512(from + kStep / 2);
        _mm512_store_si512(high[s][r], bytes(_mm512_srli_epi16(a, 7), _mm512_srli_epi16(b, 7)));
        _mm512_store_si512(low[s][r], bytes(_mm512_and_si512(a, low_bits), _mm512_and_si512(b, low_bits)));
      }
    }
  }

 private:
  static __m512i bytes(__m512i a, __m512i b) {
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    return _mm512_permutexvar_epi64(order, _mm512_packus_epi16(a, b));
  }
};

// acc[rows][16 * panels] += the sums over `steps` steps; panels is 1 or 2.
void add_sums(const SplitWeights& weights, size_t rows, const int8_t* values, size_t group_bytes,
              size_t steps, size_t panels, int32_t* acc, size_t ld_acc) {
  alignas(64) int32_t sums[4][kTileRows][kTileInts];
  tile_zero<0>(), tile_zero<1>(), tile_zero<2>(), tile_zero<3>();
  for (size_t s = 0; s < steps; ++s, values += kStep / kPanelDepth * group_bytes) {
    tile_load<4>(weights.high[s], kTileBytes);
    tile_load<5>(weights.low[s], kTileBytes);
    tile_load<6>(values, group_bytes);
    tile_add_dots<0, 4, 6>();
    tile_add_dots<1, 5, 6>();
    if (panels == 1) continue;
    tile_load<7>(values + kTileBytes, group_bytes);
    tile_add_dots<2, 4, 7>();
    tile_add_dots<3, 5, 7>();
  }
  tile_store<0>(sums[0], kTileBytes), tile_store<1>(sums[1], kTileBytes);
  tile_store<2>(sums[2], kTileBytes), tile_store<3>(sums[3], kTileBytes);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t j = 0; j < panels; ++j) {
      int32_t* out = acc + r * ld_acc + j * kTileInts;
      const __m512i high = _mm512_slli_epi32(_mm512_load_si512(sums[2 * j][r]), 7);
      const __m512i both = _mm512_add_epi32(high, _mm512_load_si512(sums[2 * j + 1][r]));
      _mm512_storeu_si512(out, _mm512_add_epi32(_mm512_loadu_si512(out), both));
    }
  }
}

void configure(size_t rows) {
  TileShapes shapes;
  for (size_t tile = 0; tile < 6; ++tile) shapes.set(tile, rows, kTileBytes);
  for (size_t tile = 6; tile < 8; ++tile) shapes.set(tile, kTileRows, kTileBytes);
  tiles_configure(shapes);
}

void weighted_sum(const uint16_t* weight, size_t ld_weight, size_t rows, const int8_t* values, size_t count,
                  size_t d_head, int32_t* acc, size_t ld_acc) {
  const size_t whole = rows < kMinRows ? 0 : count / kStep * kStep, group_bytes = value_group_bytes(d_head);
  const size_t panels = panel_count(d_head);
  SplitWeights split;
  for (size_t row = 0, some; whole > 0 && row < rows; row += some) {
    some = rows - row < kTileRows ? rows - row : kTileRows;
    configure(some);
    for (size_t first = 0, here; first < whole; first += here) {
      here = whole - first < kChunk ? whole - first : kChunk;
      split.split(weight + row * ld_weight + first, ld_weight, some, here / kStep);
      const int8_t* from = values + first / kPanelDepth * group_bytes;
      for (size_t panel = 0; panel < panels; panel += 2) {
        add_sums(split, some, from + panel * kPanelGroupBytes, group_bytes, here / kStep,
                 panels - panel < 2 ? 1 : 2, acc + row * ld_acc + panel * kPanelOutputs, ld_acc);
      }
    }
    tiles_release();
  }
  if (whole < count) {  // less than a step
    avx512vnni::weighted_sum(weight + whole, ld_weight, rows, values + whole / kPanelDepth * group_bytes,
                             count - whole, d_head, acc, ld_acc);
  }
}

}  // namespace

void provide(AttentionKernels& k) { k.weighted_sum = weighted_sum; }

}  // namespace amx
}  // namespace lsrt
