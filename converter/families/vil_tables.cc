#include "converter/families/vil_tables.h"

namespace lsrt {

Result<std::vector<float>> make_patch_positions(const WeightSource& source, const std::string& name,
                                                uint32_t cls_tokens, uint32_t grid, uint32_t width) {
  const uint32_t half = width / 2;
  std::vector<float> positions;
  if (cls_tokens > 0) {
    LSRT_ASSIGN(positions, source.read(name + "cls_pos_embed", {cls_tokens, width}));
  }
  LSRT_ASSIGN(const std::vector<float> x, source.read(name + "x_pos_embed", {grid, half}));
  LSRT_ASSIGN(const std::vector<float> y, source.read(name + "y_pos_embed", {grid, half}));
  for (uint32_t row = 0; row < grid; row++) {
    for (uint32_t column = 0; column < grid; column++) {
      positions.insert(positions.end(), &x[size_t{row} * half], &x[size_t{row} * half] + half);
      positions.insert(positions.end(), &y[size_t{column} * half], &y[size_t{column} * half] + half);
    }
  }
  return positions;
}

Result<std::vector<float>> make_relative_bias(const WeightSource& source, const std::string& name,
                                              uint32_t query_side, uint32_t key_side, uint32_t heads) {
  const std::string table_name = name + "local_relative_position_bias_table";
  const std::string index_name = name + "relative_position_index";
  const uint32_t rows = source.extent(table_name, 0);
  const uint32_t queries = query_side * query_side, keys = key_side * key_side;
  LSRT_ASSIGN(const std::vector<float> table, source.read(table_name, {rows, heads}));
  LSRT_TRY(source.check(index_name, {queries, keys}));
  LSRT_ASSIGN(const std::vector<int64_t> index, source.checkpoint->read_integers(*source.find(index_name)));

  const uint32_t margin = (key_side - query_side) / 2, reach = query_side - 1 + margin, side = 2 * reach + 1;
  std::vector<int64_t> row_of(size_t{side} * side, -1);
  for (uint32_t query = 0; query < queries; query++) {
    for (uint32_t key = 0; key < keys; key++) {
      // Query minus key, plus reach: never negative.
      const uint32_t dy = query / query_side + margin + reach - key / key_side;
      const uint32_t dx = query % query_side + margin + reach - key % key_side;
      const int64_t row = index[size_t{query} * keys + key];
      int64_t& known = row_of[size_t{dy} * side + dx];
      if (row < 0 || row >= rows || (known >= 0 && known != row)) {
        return fail(
            Error::kUnsupported,
            "%s: %s%s[%u, %u] is %lld: not a row of the table, or not the one of the same distance elsewhere",
            source.checkpoint->path().c_str(), source.prefix.c_str(), index_name.c_str(), query, key,
            static_cast<long long>(row));
      }
      known = row;
    }
  }
  std::vector<float> bias;
  bias.reserve(row_of.size() * heads);
  for (int64_t row : row_of) {
    const float* values = &table[static_cast<size_t>(row) * heads];
    bias.insert(bias.end(), values, values + heads);
  }
  return bias;
}

Result<std::vector<float>> make_cls_bias(const WeightSource& source, const std::string& name,
                                         uint32_t heads) {
  LSRT_ASSIGN(std::vector<float> bias, source.read(name + "g2g_relative_position_bias", {heads}));
  LSRT_ASSIGN(const std::vector<float> local, source.read(name + "g2l_relative_position_bias", {2, heads}));
  bias.insert(bias.end(), local.begin(), local.end());
  return bias;
}

}  // namespace lsrt
