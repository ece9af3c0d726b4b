// Whole inputs in, whole outputs out, by the names of the goldens: what `lsrt run`, `lsrt verify` and the
// converter's end-to-end check call. Applications stream through Session (lm) or call Classifier instead.
//
// | family  | inputs                                           | outputs                 | intermediate |
// | lm      | tokens [batch, n] int32                          | logprobs [batch, n, V]  |              |
// | vil     | image [batch, 3, H, W] float32, normalised       | logits [batch, classes] | stage{i}     |
// | encoder | tokens_{j} [batch, n] int32, mask_{j} [batch, n] | logits [batch, classes] | encoder_{j}  |
// | slide   | tiles [batch, n, features] float32,              | embedding               |              |
// |         | coords [batch, n, 2]                             |   [batch, width]        |              |
//
// j = 0, and 1 for models that compare pairs; a mask is int32 or float32, 0 at padding; coords are int32 or
// float32, pixels.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "runtime/device/backend.h"
#include "runtime/model/model.h"

namespace lsrt {

struct Array {
  std::string name;
  DataType type = DataType::kFloat32;
  std::vector<uint32_t> shape;
  std::vector<uint8_t> bytes;  // row-major, little-endian

  size_t elements() const;
  const float* floats() const { return reinterpret_cast<const float*>(bytes.data()); }
  const int32_t* ints() const { return reinterpret_cast<const int32_t*>(bytes.data()); }
};

// Zeros.
Array make_array(std::string name, DataType type, std::vector<uint32_t> shape);
// A copy of an array that is stored row-major: float32 or int32.
Array to_array(const TensorView& view);

struct ArrayOptions {
  uint32_t threads = 0;       // 0: as many as pay
  uint32_t block = 0;         // tokens; 0: the model's
  uint32_t memory = 0;        // tokens; 0: the model's
  uint32_t positions = 0;     // lm: only the outputs of the last ones; 0: of all
  bool intermediate = false;  // also return the stages
  // Asked between the steps of a language model; false ends with Error::kCancelled.
  std::function<bool()> go_on = [] { return true; };
};

Result<std::vector<Array>> run_arrays(const std::shared_ptr<Backend>& backend,
                                      const std::vector<Array>& inputs, const ArrayOptions& options);

}  // namespace lsrt
