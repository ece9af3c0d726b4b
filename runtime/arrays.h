// Whole inputs in, whole outputs out, by the names of the goldens: what `lsrt run`, `lsrt verify` and the
// converter's end-to-end check call. Applications stream through Session (lm) or call Classifier instead.
//
//   lm       tokens [batch, n] int32                                    -> logprobs [batch, n, V]
//   vil      image [batch, 3, H, W] float32, normalised                 -> logits [batch, classes];
//   intermediate: stage{i} encoder  tokens_0 [batch, n] int32, mask_0 [batch, n] int32 or float32, 0 at
//   padding (pairs: tokens_1, mask_1)
//                                                                       -> logits [batch, classes];
//                                                                       intermediate: encoder_{j}
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/model.h"
#include "runtime/status.h"

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

struct ArrayOptions {
  std::string backend = "cpu";
  std::string isa;  // "": LSRT_ISA or the best one
  uint32_t threads = 1;
  uint32_t block = 0;         // tokens; 0: the model's
  uint32_t memory = 0;        // tokens; 0: the model's
  bool intermediate = false;  // also return the stages
};

Result<std::vector<Array>> run_arrays(const std::shared_ptr<const Model>& model,
                                      const std::vector<Array>& inputs, const ArrayOptions& options);

// Runs the model's stored golden; returns the largest absolute difference of any output element. A stored lm
// output of fewer positions than the input has stands for the last ones.
Result<float> golden_difference(const std::shared_ptr<const Model>& model, const ArrayOptions& options);

}  // namespace lsrt
