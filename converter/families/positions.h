// Relative positions of the causal model: projected sinusoids, which depend on weights only and so are stored
// in the model file as tables.
#pragma once

#include <cstdint>
#include <vector>

#include "converter/writer/model_builder.h"

namespace lsrt {

// The frequencies f_k = 10000^(-2k/d) of sinusoid(s) = [sin(s f_0) .. sin(s f_{d/2-1}), cos(s f_0) ..].
std::vector<double> sinusoid_frequencies(uint32_t d);

struct PositionTable {
  std::string projection;  // NAME.weight [d, d] and, with bias, NAME.bias [d]
  bool bias = false;
  uint32_t heads = 0, rows = 0, d = 0;
  int32_t clamp = 0;  // largest distance; <= 0: none
};

// [heads, rows, d / heads]: row x of head a = slice a of projection(sinusoid(min(rows - 1 - x, clamp))). In
// double.
Result<std::vector<float>> make_positions(const WeightSource& source, const PositionTable& table);

}  // namespace lsrt
