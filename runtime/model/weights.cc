#include "runtime/model/weights.h"

#include <algorithm>
#include <cstring>

namespace lsrt {
namespace {

// Four inputs of each of the 16 outputs of a panel: one word an output.
using Words = uint32_t __attribute__((vector_size(kPanelOutputs * kPanelDepth)));
static_assert(sizeof(Words) == 64);

constexpr uint32_t kSigns = 0x80808080, kOnes = 0x01010101, kEven = 0x00ff00ff;

// What one pass over a panel finds out, by output.
struct PanelFacts {
  int32_t sum[kPanelOutputs];
  Words lowest;   // not 0 if a weight is -128
  Words present;  // not 0 if a weight is not 0
};

PanelFacts look_at(const int8_t* panel, size_t depth) {
  PanelFacts facts = {};
  const size_t words = round_up(depth, kPanelDepth) / kPanelDepth;
  // Weights + 128 are summed in pairs of 16 bits, which hold 128 times two of them.
  constexpr size_t kRun = 128;
  for (size_t first = 0; first < words; first += kRun) {
    Words pairs = {};
    for (size_t k = first; k < std::min(words, first + kRun); ++k) {
      Words w;
      std::memcpy(&w, panel + k * sizeof w, sizeof w);
      facts.present |= w;
      w ^= kSigns;
      facts.lowest |= (w - kOnes) & ~w & kSigns;  // some byte is 0
      pairs += (w & kEven) + ((w >> 8) & kEven);
    }
    for (size_t i = 0; i < kPanelOutputs; ++i) {
      facts.sum[i] += static_cast<int32_t>((pairs[i] & 0xffff) + (pairs[i] >> 16));
    }
  }
  for (int32_t& sum : facts.sum) sum -= static_cast<int32_t>(128 * kPanelDepth * words);
  return facts;
}

}  // namespace

Status check_int8(const TensorView& tensor) {
  const size_t groups = tensor.rank == 3 ? tensor.shape[0] : 1;
  const auto wrong = [&](size_t group, size_t row, const char* what) {
    return fail(Error::kModel, "%.*s: group %zu, row %zu: %s", static_cast<int>(tensor.name.size()),
                tensor.name.data(), group, row, what);
  };
  for (size_t g = 0; g < groups; ++g) {
    const PanelWeights weights = tensor.panels(g);
    const size_t tail = weights.depth % kPanelDepth, rows = panel_count(weights.outputs) * kPanelOutputs;
    for (size_t first = 0; first < rows; first += kPanelOutputs) {
      const int8_t* panel = weights.data + first * round_up(weights.depth, kPanelDepth);
      const int8_t* last = panel + panel_bytes(weights.depth) - kPanelOutputs * kPanelDepth;
      const PanelFacts facts = look_at(panel, weights.depth);
      for (size_t i = 0; i < kPanelOutputs; ++i) {
        const size_t row = first + i;
        if (facts.sum[i] != weights.sum[row]) return wrong(g, row, "its sum is not that of its weights");
        if (facts.lowest[i]) return wrong(g, row, "a weight is -128");
        if (row >= weights.outputs && (facts.present[i] || weights.scale[row] != 0)) {
          return wrong(g, row, "it is padding, but not zero");
        }
        for (size_t k = tail; tail != 0 && k < kPanelDepth; ++k) {
          if (last[i * kPanelDepth + k] != 0) {
            return wrong(g, row, "the padding behind its last column is not zero");
          }
        }
      }
    }
  }
  return {};
}

}  // namespace lsrt
