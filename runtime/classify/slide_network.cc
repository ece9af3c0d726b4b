#include "runtime/classify/slide_network.h"

#include <algorithm>
#include <cmath>

namespace lsrt {

Status SlideNetwork::run(const float* tiles, const float* coords, size_t count, float* embedding) {
  if (count == 0 || count > max_tiles()) {
    return fail(Error::kArgument, "a slide of %zu tiles, must be 1 to %zu", count, max_tiles());
  }
  LSRT_TRY(find_cells(coords, count));
  embed(tiles, count);
  for (const Layer& layer : layers_) run_layer(layer, 1 + count);
  pool(1 + count);
  backend_.copy_out(*stream_, embedding, b_.embedding, width() * sizeof(float));
  return backend_.synchronize(*stream_);
}

// A tile's row adds the place of its second coordinate, then that of the first.
Status SlideNetwork::find_cells(const float* coords, size_t count) {
  const auto tile = static_cast<float>(stem().tile), cells = static_cast<float>(stem().cells);
  for (size_t i = 0; i < 2 * count; ++i) {
    const float cell = std::floor(coords[i] / tile);
    if (!(cell >= 0 && cell < cells)) {
      return fail(Error::kArgument, "coordinate %zu of tile %zu is %g, must be at least 0 and below %zu",
                  i % 2, i / 2, static_cast<double>(coords[i]), size_t{stem().tile} * stem().cells);
    }
    cells_[i ^ 1] = static_cast<int32_t>(cell);
  }
  return {};
}

void SlideNetwork::embed(const float* tiles, size_t count) {
  backend_.copy_in(*stream_, b_.cells, cells_, 2 * count * sizeof(int32_t));
  rows().copy_rows(*stream_, width(), cls_token_, width(), 1, b_.x, width());
  for (size_t first = 0, some; first < count; first += some) {
    some = std::min(stem_rows(), count - first);
    backend_.copy_in(*stream_, b_.tiles, tiles + first * features(), some * features() * sizeof(float));
    backend_.ops().linear->linear(*stream_, *projection_, b_.tiles, some, Activation::kNone, b_.embedded);
    // Rows of half the width: two places of each tile, one behind the other.
    rows().embed(*stream_, positions_, 1, width() / 2, b_.cells + 2 * first, 2 * some, b_.embedded,
                 b_.x + (1 + first) * width());
  }
}

void SlideNetwork::run_layer(const Layer& layer, size_t rows) {
  const GroupedOps& grouped = *backend_.ops().grouped;
  GroupedAttention a = attention_of(layer);
  Projected to{};
  to.store = a.store;
  to.query = b_.attention;
  runner_.project(*stream_, layer.prepared, b_.x, rows, 0, to);
  const size_t zero_row = most_rows();
  grouped.store_key_values(*stream_, a.store, zero_row, 1, b_.zeros, b_.zeros, width());
  a.query = a.out = b_.attention;
  const auto attend = [&](const DilatedBatch& batch) {
    const size_t queries = batch.groups * batch.group_queries, keys = batch.groups * batch.group_keys;
    backend_.copy_in(*stream_, b_.indices, batch.query_rows, queries * sizeof(int32_t));
    backend_.copy_in(*stream_, b_.indices + queries, batch.key_rows, keys * sizeof(int32_t));
    a.first_head = batch.first_head, a.some_heads = batch.heads;
    a.groups = batch.groups, a.group_queries = batch.group_queries, a.group_keys = batch.group_keys;
    a.query_rows = b_.indices;
    a.key_rows = b_.indices + queries;
    grouped.attend(*stream_, a);
  };
  layer.groups.for_batches(rows, static_cast<int32_t>(zero_row), lists_, attend);
  runner_.feed_forward(*stream_, layer.prepared, b_.attention, rows, b_.x);
}

void SlideNetwork::pool(size_t all) {
  const size_t n = width();
  if (head().pool == Pool::kCls) {
    rows().layer_norm(*stream_, norm_, n, b_.x, n, 1, b_.embedding, n);
  } else {
    const Dev<float> tiles = b_.x + n;
    rows().layer_norm(*stream_, norm_, n, tiles, n, all - 1, tiles, n);
    rows().mean_rows(*stream_, tiles, all - 1, n, static_cast<float>(all - 1), b_.embedding);
  }
  if (output_norm_) rows().layer_norm(*stream_, output_norm_, n, b_.embedding, n, 1, b_.embedding, n);
}

}  // namespace lsrt
