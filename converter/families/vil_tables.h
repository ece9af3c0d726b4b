// Tables of the vision models that the authors keep in parts, or in an order of their own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "converter/writer/model_builder.h"

namespace lsrt {

// [cls_tokens + grid * grid, width]: cls_pos_embed, then x_pos_embed[row] next to y_pos_embed[column].
Result<std::vector<float>> make_patch_positions(const WeightSource& source, const std::string& name,
                                                uint32_t cls_tokens, uint32_t grid, uint32_t width);

// [(2 reach + 1)^2, heads] by (dy + reach, dx + reach) of query minus key, for queries in a square inside a
// larger square of keys with the same centre; reach is the largest distance along an axis. From the table
// NAME local_relative_position_bias_table and relative_position_index [queries, keys], which must name one
// row of the table for each distance: the authors' rows differ from ours, and some stand for several
// distances.
Result<std::vector<float>> make_relative_bias(const WeightSource& source, const std::string& name,
                                              uint32_t query_side, uint32_t key_side, uint32_t heads);

// [3, heads]: cls-cls, cls-token, token-cls.
Result<std::vector<float>> make_cls_bias(const WeightSource& source, const std::string& name, uint32_t heads);

}  // namespace lsrt
