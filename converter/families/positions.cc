#include "converter/families/positions.h"

#include <algorithm>
#include <cmath>

namespace lsrt {
namespace {

// Independent sums in a fixed order: a single one would wait for each addition.
double dot(const float* a, const double* b, size_t n) {
  double sums[4] = {};
  size_t k = 0;
  for (; k + 4 <= n; k += 4) {
    for (size_t lane = 0; lane < 4; lane++) sums[lane] += static_cast<double>(a[k + lane]) * b[k + lane];
  }
  for (; k < n; k++) sums[0] += static_cast<double>(a[k]) * b[k];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

std::vector<double> sinusoid_frequencies(uint32_t d) {
  std::vector<double> frequencies(d / 2);
  for (uint32_t k = 0; k < d / 2; k++) frequencies[k] = std::pow(10000.0, -2.0 * k / d);
  return frequencies;
}

Result<std::vector<float>> make_positions(const WeightSource& source, const PositionTable& table) {
  const uint32_t d = table.d, head_dim = d / table.heads;
  LSRT_ASSIGN(const std::vector<float> weight, source.read(table.projection + ".weight", {d, d}));
  std::vector<float> bias(d);
  if (table.bias) {
    LSRT_ASSIGN(bias, source.read(table.projection + ".bias", {d}));
  }
  const std::vector<double> frequencies = sinusoid_frequencies(d);
  const uint32_t farthest =
      table.clamp > 0 ? std::min<uint32_t>(table.rows - 1, table.clamp) : table.rows - 1;
  std::vector<float> positions(size_t{table.rows} * d);
  std::vector<double> sinusoid(d);
  for (uint32_t distance = 0; distance <= farthest; distance++) {
    for (uint32_t k = 0; k < d / 2; k++) {
      sinusoid[k] = std::sin(distance * frequencies[k]);
      sinusoid[d / 2 + k] = std::cos(distance * frequencies[k]);
    }
    // Clamped rows repeat the farthest one.
    const uint32_t last = distance == farthest ? table.rows - 1 : distance;
    for (uint32_t i = 0; i < d; i++) {
      const auto value =
          static_cast<float>(dot(&weight[size_t{i} * d], sinusoid.data(), d) + static_cast<double>(bias[i]));
      float* head = &positions[size_t{i / head_dim} * table.rows * head_dim + i % head_dim];
      for (uint32_t s = distance; s <= last; s++) head[size_t{table.rows - 1 - s} * head_dim] = value;
    }
  }
  return positions;
}

}  // namespace lsrt
