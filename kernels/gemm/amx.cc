// int8 matrix product for AMX: a panel of the model file is a tile of weights as it lies, packed rows are
// those of AVX-512 VNNI.
#include "kernels/gemm/tiles_avx512.h"
#include "kernels/isa_sets.h"
#include "kernels/simd/tiles_amx.h"

namespace lsrt {
namespace amx {
namespace {

// Fewer rows wait for their weights, not for products.
constexpr size_t kMinRows = 5;

// The product without tiles of AMX: for few rows, and for depths that do not divide into equal steps.
using Registers = avx512vnni::Tiles;

// Four sums: two tiles of rows beside two panels, or one beside four. `used`: the panels that there are.
template <int kRowTiles>
struct Block {
  static constexpr int kPanels = 4 / kRowTiles;
  static constexpr int kRows = 4, kWeights = 4 + kRowTiles;  // their first tiles

  static void configure(size_t rows, size_t step_bytes) {
    TileShapes shapes;
    for (int r = 0; r < kRowTiles; ++r) {
      const size_t some = kRowTiles == 1 || r == 1 ? rows - kTileRows * r : kTileRows;
      for (int j = 0; j < kPanels; ++j) shapes.set(r * kPanels + j, some, kTileBytes);
      shapes.set(kRows + r, some, step_bytes);
    }
    for (int tile = kWeights; tile < 8; ++tile) shapes.set(tile, step_bytes / kPanelDepth, kTileBytes);
    tiles_configure(shapes);
  }

  // Panel j, and those behind it.
  template <int j = 0>
  static inline __attribute__((always_inline)) void add_panels(const int8_t* weights, size_t panel_bytes,
                                                               size_t used) {
    if constexpr (j < kPanels) {
      if (j >= (int)used) return;
      constexpr int kTile = kWeights + j % (8 - kWeights);
      tile_load<kTile>(weights + j * panel_bytes, kTileBytes);
      tile_add_dots<j, kRows, kTile>();
      if constexpr (kRowTiles == 2) tile_add_dots<kPanels + j, kRows + 1, kTile>();
      add_panels<j + 1>(weights, panel_bytes, used);
    }
  }

  static void sums(const Product& p, size_t used, size_t steps, size_t step_bytes, int32_t* out) {
    tile_zero<0>(), tile_zero<1>(), tile_zero<2>(), tile_zero<3>();
    const uint8_t* a = p.packed;
    const int8_t* w = p.weights;
    for (size_t s = 0; s < steps; ++s, a += step_bytes, w += step_bytes * kPanelOutputs) {
      tile_load<kRows>(a, p.row_bytes);
      if constexpr (kRowTiles == 2) tile_load<kRows + 1>(a + kTileRows * p.row_bytes, p.row_bytes);
      add_panels(w, p.panel_bytes, used);
    }
    constexpr size_t kStride = kPanels * kTileBytes;
    constexpr size_t kTileInts = kTileBytes / sizeof(int32_t), kSecond = kTileRows * kPanels * kTileInts;
    tile_store<0>(out, kStride);
    tile_store<1>(out + kTileInts, kStride);
    tile_store<2>(out + (kRowTiles == 2 ? kSecond : 2 * kTileInts), kStride);
    tile_store<3>(out + (kRowTiles == 2 ? kSecond : 2 * kTileInts) + kTileInts, kStride);
  }
};

// The floats of `used` panels, of which the last one has `outputs` outputs.
template <int kPanels>
void finish(const Product& p, size_t rows, size_t used, size_t outputs, const int32_t* sums) {
  __m512i weight_sum[kPanels];
  __m512 scale[kPanels], bias[kPanels];
  __mmask16 mask[kPanels];
#pragma GCC unroll 4
  for (size_t j = 0; j < kPanels; ++j) {
    mask[j] = (__mmask16)(j >= used ? 0u : j + 1 < used ? 0xffffu : (1u << outputs) - 1);
    const size_t at = j < used ? j * kPanelOutputs : 0;
    weight_sum[j] = _mm512_loadu_si512(p.sum + at);
    scale[j] = _mm512_loadu_ps(p.scale + at);
    bias[j] = p.bias && j < used ? _mm512_maskz_loadu_ps(mask[j], p.bias + at) : _mm512_setzero_ps();
  }
  for (size_t r = 0; r < rows; ++r, sums += kPanels * kPanelOutputs) {
    const __m512i offset = _mm512_set1_epi32(-128 - p.row_scale[r].zero_point);
    const __m512 row_scale = _mm512_set1_ps(p.row_scale[r].scale);
    float* out = p.out + r * p.ld;
#pragma GCC unroll 4
    for (size_t j = 0; j < kPanels; ++j) {
      if (j >= used) break;
      const __m512i sum = _mm512_add_epi32(_mm512_loadu_si512(sums + j * kPanelOutputs),
                                           _mm512_mullo_epi32(offset, weight_sum[j]));
      const __m512 value =
          _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(row_scale, scale[j])), bias[j]);
      _mm512_mask_storeu_ps(out + j * kPanelOutputs, mask[j], value);
    }
  }
}

template <int kRowTiles>
void all_panels(const Product& p, size_t rows, size_t panels, size_t last_outputs, size_t steps,
                size_t step_bytes) {
  constexpr size_t kPanels = Block<kRowTiles>::kPanels;
  alignas(64) int32_t sums[4 * kTileRows * kPanelOutputs];
  Block<kRowTiles>::configure(rows, step_bytes);
  for (size_t panel = 0; panel < panels; panel += kPanels) {
    const Product part = p.at(0, panel);
    const size_t used = panels - panel < kPanels ? panels - panel : kPanels;
    Block<kRowTiles>::sums(part, used, steps, step_bytes, sums);
    finish<kPanels>(part, rows, used, panel + used == panels ? last_outputs : kPanelOutputs, sums);
  }
}

void gemm(const void* packed, const RowScale* row_scale, size_t rows, const PanelWeights& weights,
          size_t panel_begin, size_t panel_end, float* out, size_t ld) {
  const Product p(packed, row_scale, weights, panel_begin, out, ld);
  const size_t steps = (p.groups + kTileRows - 1) / kTileRows;
  if (rows < kMinRows || panel_begin >= panel_end || p.groups % steps != 0) {
    return lsrt::gemm<Registers>(packed, row_scale, rows, weights, panel_begin, panel_end, out, ld);
  }
  const size_t step_bytes = p.groups / steps * kPanelDepth, panels = panel_end - panel_begin;
  const size_t left = weights.outputs - (panel_end - 1) * kPanelOutputs;
  const size_t last_outputs = left < kPanelOutputs ? left : kPanelOutputs;
  for (size_t row = 0, some; row < rows; row += some) {
    some = rows - row < 2 * kTileRows ? rows - row : 2 * kTileRows;
    if (some > kTileRows) {
      all_panels<2>(p.at(row, 0), some, panels, last_outputs, steps, step_bytes);
    } else {
      all_panels<1>(p.at(row, 0), some, panels, last_outputs, steps, step_bytes);
    }
  }
  tiles_release();
}

}  // namespace

void provide(GemmKernels& k) { k.gemm = gemm; }

}  // namespace amx
}  // namespace lsrt
